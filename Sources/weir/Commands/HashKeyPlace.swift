import Glibc
import Pipeline
import RuleLanguage

/// Where the hash key of a deployment is: the secret by which identifiers are told apart, so that nobody can be taken for somebody
/// else.
struct HashKeyPlace {
    var file: HashKeyFile
    /// Named by `--hash-key-file`: somebody else keeps it, and it is never made.
    var isGiven: Bool

    /// Nil without `--state` where neither log nor environment says where state is kept.
    ///
    /// - Parameters:
    ///   - topology: its name; nil where the command was given none.
    ///   - environment: by which a folder for state is found.
    init?(
        _ arguments: ParsedArguments,
        topology: String?,
        environment: (String) -> String? = { name in getenv(name).map { String(cString: $0) } }
    ) {
        isGiven = false
        if let path = arguments.string("hash-key-file") {
            isGiven = true
            file = HashKeyFile(path: path)
        } else if let place = StatePlace(arguments, topology: topology, environment: environment) {
            file = HashKeyFile(path: place.hashKey)
        } else {
            return nil
        }
    }

    /// The key, made where a deployment has none yet.
    func readOrMake() throws -> (key: HashKey, isNew: Bool) {
        do throws(HashKeyError) {
            return isGiven ? (try file.read(), false) : try file.readOrMake()
        } catch {
            throw CommandFailure(error)
        }
    }

    /// The key where there is one that we may read; nil where not.
    ///
    /// For who only looks: nothing is made. A key that the flag names must be there.
    func readIfThere() throws -> HashKey? {
        do throws(HashKeyError) {
            return try file.read()
        } catch {
            if !isGiven, error.kind == .absent || error.kind == .forbidden { return nil }
            throw CommandFailure(error)
        }
    }

    /// The key in the file that the flag names; the fixed one without the flag.
    static func givenOrFixed(_ arguments: ParsedArguments) throws -> HashKey {
        guard let path = arguments.string("hash-key-file") else { return .fixed }
        do throws(HashKeyError) { return try HashKeyFile(path: path).read() } catch { throw CommandFailure(error) }
    }
}

extension CommandFailure {
    init(_ error: HashKeyError) {
        self.init(error.kind == .forbidden ? .notAuthorised : .invalid, error.message, hint: error.remedy)
    }
}
