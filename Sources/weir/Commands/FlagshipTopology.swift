import Glibc

/// Where the topologies that come with the product lie.
enum FlagshipTopology {
    /// The marketplace's folder: below the working directory, beside a build of this program, or where packages put it.
    static func folder() throws(CommandFailure) -> String {
        var candidates = ["topologies/marketplace"]
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        if length > 0 {
            let path = String(decoding: buffer[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self)
            var parts = path.split(separator: "/")
            // A build lies three or four folders below the package: .build/<triple>/release/weir.
            for _ in 0..<5 where !parts.isEmpty {
                parts.removeLast()
                candidates.append("/" + parts.joined(separator: "/") + "/topologies/marketplace")
            }
        }
        candidates.append("/usr/share/weir/topologies/marketplace")
        for candidate in candidates where access(candidate + "/topology.yaml", R_OK) == 0 { return candidate }
        throw CommandFailure(
            .invalid,
            "the flagship topology is not there",
            hint: "run weir demo from the project's folder, which holds topologies/marketplace"
        )
    }
}
