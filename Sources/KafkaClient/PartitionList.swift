import CRdKafka

/// librdkafka's list of partitions, freed at the end of its life.
struct PartitionList: ~Copyable {
    let pointer: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>

    init(_ offsets: [KafkaOffset]) throws(KafkaError) {
        guard let pointer = rd_kafka_topic_partition_list_new(Int32(offsets.count)) else {
            throw KafkaError(.other, "make a list of partitions", "out of memory")
        }
        self.pointer = pointer
        for item in offsets {
            let entry = rd_kafka_topic_partition_list_add(pointer, item.partition.topic, item.partition.partition)
            entry?.pointee.offset = item.offset
        }
    }

    init(_ partitions: [KafkaPartition], offset: Int64 = -1001) throws(KafkaError) {
        try self.init(partitions.map { KafkaOffset($0, offset) })
    }

    deinit { rd_kafka_topic_partition_list_destroy(pointer) }

    /// The entries; the first with an error of its own throws.
    func offsets(_ operation: String) throws(KafkaError) -> [KafkaOffset] {
        var found: [KafkaOffset] = []
        for index in 0..<Int(pointer.pointee.cnt) {
            let entry = pointer.pointee.elems[index]
            let partition = KafkaPartition(String(cString: entry.topic), entry.partition)
            if entry.err != RD_KAFKA_RESP_ERR_NO_ERROR {
                throw KafkaError(
                    code: entry.err,
                    operation,
                    text: "\(String(cString: rd_kafka_err2str(entry.err))) (\(partition))"
                )
            }
            found.append(KafkaOffset(partition, entry.offset))
        }
        return found
    }

    static func offsets(
        of list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?
    ) -> [KafkaOffset] {
        guard let list else { return [] }
        return (0..<Int(list.pointee.cnt)).map { index in
            let entry = list.pointee.elems[index]
            return KafkaOffset(KafkaPartition(String(cString: entry.topic), entry.partition), entry.offset)
        }
    }
}
