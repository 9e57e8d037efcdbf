/// How a CSV file is written, as the `csv:` of an event type says; RFC 4180 in UTF-8 unless told otherwise.
public struct CSVDialect: Sendable, Equatable {
    /// What stands between two columns.
    public enum Delimiter: Sendable, Equatable {
        /// One ASCII character.
        case byte(UInt8)
        /// Any number of blanks and tabs; those around the row separate nothing.
        case blanks
    }

    /// Where the columns' names come from.
    public enum Header: Sendable, Equatable {
        /// The first row of the file.
        case present
        /// There is none; ``unread`` stands for a column that nobody reads.
        case names([String])
    }

    /// What the bytes mean.
    public enum Encoding: String, Sendable, Equatable, CaseIterable {
        case utf8 = "utf-8"
        case latin1 = "iso-8859-1"
        /// The five bytes that it leaves open are the control characters of the same number, as browsers read them.
        case windows1252 = "windows-1252"

        /// Most bytes that one byte becomes in UTF-8.
        public var expansion: Int {
            switch self {
            case .utf8: 1
            case .latin1: 2
            case .windows1252: 3
            }
        }
    }

    /// The name of a column that no field reads, of which there may be several.
    public static let unread = "-"
    /// RFC 4180 with a header.
    public static let standard = CSVDialect()

    public var delimiter = Delimiter.byte(UInt8(ascii: ","))
    public var header = Header.present
    /// What encloses a column that holds delimiters or line ends, doubled where it stands for itself; nil: nothing does.
    public var quote: UInt8? = UInt8(ascii: "\"")
    /// A row that begins with it is none; nil: every row is one.
    public var comment: UInt8?
    public var encoding = Encoding.utf8
    /// Blanks and tabs around a column, outside its quotes, do not belong to it.
    public var trims = false
    /// What stands before the fraction of a number.
    public var decimal = UInt8(ascii: ".")
    /// What may stand between groups of three digits; a blank means a no-break space too.
    public var thousands: UInt8?

    public init() {}

    /// Whether numbers must be written anew before they are read.
    public var hasOtherNumbers: Bool { decimal != UInt8(ascii: ".") || thousands != nil }
    /// The names of the columns where the file itself has none.
    public var names: [String]? {
        if case .names(let names) = header { names } else { nil }
    }
}
