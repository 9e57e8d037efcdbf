/// Why bytes are not the state they should be.
public enum StateError: Error, Equatable, Sendable {
    /// No state at all, or one of a version that this program does not read.
    case foreign(String)
    /// The bytes end before what they announce.
    case torn(String)
    /// A checksum does not fit.
    case damaged(String)
    /// The state was written by another layout: other rules, settings or keys.
    case otherLayout(section: String, found: String, expected: String)
    /// The bytes are those that were written, and what they say cannot be.
    case inconsistent(String)
}

extension StateError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .foreign(let what): "not a state that this version reads: \(what)"
        case .torn(let what): "the state is torn: \(what)"
        case .damaged(let what): "the state is damaged: \(what)"
        case .otherLayout(let section, let found, let expected):
            "\(section) was written as `\(found)` and is read as `\(expected)`"
        case .inconsistent(let what): "the state contradicts itself: \(what)"
        }
    }
}

extension StateError {
    /// Throws unless a fact holds that later code relies on.
    @inlinable @inline(__always)
    public static func require(_ fact: Bool, _ otherwise: @autoclosure () -> String) throws(StateError) {
        if !fact { throw .inconsistent(otherwise()) }
    }
}

/// Where a state is written to; what is written is position independent: numbers and offsets, no pointers.
public protocol StateSink {
    mutating func put(bytes: UnsafeRawBufferPointer)
}

/// Where a state is read from, in the order in which it was written.
public protocol StateSource {
    /// Bytes not read yet.
    var left: Int { get }
    mutating func take(into bytes: UnsafeMutableRawBufferPointer) throws(StateError)
}

extension StateSink {
    /// Writes the bytes of a value that has no padding and no meaning beyond this process.
    @inlinable
    public mutating func put<Value: BitwiseCopyable>(_ value: Value) {
        var value = value
        Swift.withUnsafeBytes(of: &value) { put(bytes: $0) }
    }

    /// Writes the elements, not their number.
    @inlinable
    public mutating func put<Value: BitwiseCopyable>(_ start: UnsafePointer<Value>, count: Int) {
        put(bytes: UnsafeRawBufferPointer(start: start, count: count * MemoryLayout<Value>.stride))
    }

    /// Writes the number of elements, then the elements.
    @inlinable
    public mutating func put<Value: BitwiseCopyable>(counted elements: [Value]) {
        put(elements.count)
        elements.withUnsafeBytes { put(bytes: $0) }
    }
}

extension StateSource {
    /// Reads a value of which every bit pattern is one: a number, or a struct of numbers.
    @inlinable
    public mutating func take<Value: BitwiseCopyable>(_: Value.Type = Value.self) throws(StateError) -> Value {
        let size = MemoryLayout<Value>.size
        // A buffer on the stack in place of a value that cannot be made.
        var bytes = InlineArray<64, UInt64>(repeating: 0)
        precondition(size <= 512, "larger things are read into memory of their own")
        var failure: StateError?
        let value = withUnsafeMutableBytes(of: &bytes) { all -> Value in
            do throws(StateError) {
                try take(into: UnsafeMutableRawBufferPointer(rebasing: all[..<size]))
            } catch {
                failure = error
            }
            return all.loadUnaligned(as: Value.self)
        }
        if let failure { throw failure }
        return value
    }

    /// Reads a number of elements that must lie in a range and be there.
    @inlinable
    public mutating func takeCount(_ what: String, in range: ClosedRange<Int>, bytesEach: Int) throws(StateError) -> Int
    {
        let count = try take(Int.self)
        guard range.contains(count) else {
            throw .inconsistent("\(what): \(count), where \(range.lowerBound) to \(range.upperBound) may be")
        }
        guard bytesEach == 0 || count <= left / bytesEach else { throw .torn("\(what) end early") }
        return count
    }

    /// Reads so many elements into memory that has room for them.
    @inlinable
    public mutating func take<Value: BitwiseCopyable>(into start: UnsafeMutablePointer<Value>, count: Int)
        throws(StateError)
    {
        try take(into: UnsafeMutableRawBufferPointer(start: start, count: count * MemoryLayout<Value>.stride))
    }

    /// Reads what ``StateSink/put(counted:)`` wrote, at most `limit` elements.
    @inlinable
    public mutating func takeCounted<Value: BitwiseCopyable>(_ what: String, limit: Int, _: Value.Type = Value.self)
        throws(StateError) -> [Value]
    {
        let count = try takeCount(what, in: 0...limit, bytesEach: MemoryLayout<Value>.stride)
        var failure: StateError?
        let elements = [Value](unsafeUninitializedCapacity: count) { buffer, initialized in
            guard count > 0, let base = buffer.baseAddress else { return }
            do throws(StateError) {
                try take(into: base, count: count)
                initialized = count
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return elements
    }
}
