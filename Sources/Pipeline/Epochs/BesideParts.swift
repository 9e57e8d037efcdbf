import Models
import RuleLanguage

/// Gathers what the fields of a topology want of a record beside its value: its key and headers, in the decoder's form.
///
/// Allocates nothing once warm.
final class BesideParts {
    /// Most bytes kept of a part; one that is longer is too long for any field, and stays so.
    private static let partMax = 65_537

    private let origins: [FieldPath.Origin]
    /// Per origin the name of the header, empty for the key.
    private let names: [[UInt8]]
    /// Whether some of it stands in headers.
    let wantsHeaders: Bool
    private var memory = OwnedBuffer<UInt8>(undefined: 256)

    init(_ origins: [FieldPath.Origin]) {
        self.origins = origins
        names = origins.map { if case .header(let name) = $0 { Array(name.utf8) } else { [] } }
        wantsHeaders = origins.contains { if case .header = $0 { true } else { false } }
    }

    /// Valid until the next call; empty where nothing is wanted.
    func parts(of record: LogRecord) -> UnsafeRawBufferPointer {
        var count = 0
        for index in origins.indices {
            let part = part(index, of: record)
            let kept = min(part?.count ?? 0, BesideParts.partMax)
            if count + 4 + kept > memory.count { memory.resize(to: 2 * (count + 4 + kept)) }
            let to = UnsafeMutableRawPointer(memory.base + count)
            to.storeBytes(of: Int32(part == nil ? -1 : kept).littleEndian, as: Int32.self)
            if let from = part?.baseAddress { (to + 4).copyMemory(from: from, byteCount: kept) }
            count += 4 + kept
        }
        return UnsafeRawBufferPointer(start: memory.base, count: count)
    }

    /// The key, or the last header of the name; nil where the record has none.
    private func part(_ index: Int, of record: LogRecord) -> UnsafeRawBufferPointer? {
        guard case .header = origins[index] else { return record.key }
        let header = record.headers.last { $0.name.elementsEqual(names[index]) }
        return header?.value
    }
}
