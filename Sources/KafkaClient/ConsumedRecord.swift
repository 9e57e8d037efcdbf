import CRdKafka
import Glibc

/// One record as a ``Consumer`` lends it: its bytes are valid only during the call that passes it.
public struct ConsumedRecord {
    /// Whose clock the timestamp is of.
    public enum TimestampType: Sendable { case none, createTime, logAppendTime }

    public let offset: Int64
    /// Milliseconds since 1970, or -1.
    public let timestamp: Int64
    public let timestampType: TimestampType
    /// nil: no key.
    ///
    /// An empty key is a buffer of length 0.
    public let key: UnsafeRawBufferPointer?
    /// nil: a tombstone.
    ///
    /// An empty value is a buffer of length 0.
    public let value: UnsafeRawBufferPointer?
    let message: UnsafeMutablePointer<rd_kafka_message_t>

    init(_ message: UnsafeMutablePointer<rd_kafka_message_t>) {
        self.message = message
        offset = message.pointee.offset
        var type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
        timestamp = rd_kafka_message_timestamp(message, &type)
        timestampType =
            type == RD_KAFKA_TIMESTAMP_CREATE_TIME
            ? .createTime : type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? .logAppendTime : .none
        key = message.pointee.key.map { UnsafeRawBufferPointer(start: $0, count: message.pointee.key_len) }
        value = message.pointee.payload.map { UnsafeRawBufferPointer(start: $0, count: message.pointee.len) }
    }

    /// Calls the body with each header in order.
    ///
    /// The headers are parsed at the first call and cost nothing when never asked for.
    public func forEachHeader(_ body: (_ name: String, _ value: UnsafeRawBufferPointer?) -> Void) {
        forEachHeader { (name: UnsafeRawBufferPointer, value) in body(String(decoding: name, as: UTF8.self), value) }
    }

    /// The same with the name's bytes, which are the record's: allocates nothing.
    public func forEachHeader(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer?) -> Void) {
        var headers: OpaquePointer?
        guard rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR, let headers else { return }
        var index = 0
        var name: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var count = 0
        while rd_kafka_header_get_all(headers, index, &name, &value, &count) == RD_KAFKA_RESP_ERR_NO_ERROR,
            let found = name
        {
            body(
                UnsafeRawBufferPointer(start: found, count: strlen(found)),
                value.map { UnsafeRawBufferPointer(start: $0, count: count) }
            )
            index += 1
        }
    }
}
