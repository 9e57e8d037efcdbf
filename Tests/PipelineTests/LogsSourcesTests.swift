import Pipeline
import Testing

// Sources that come later.
extension LogsConformance {
    @Test(arguments: cases)
    func `one more source is read beside the others, which go on where they were`(_ logCase: LogCase) throws {
        let fixture = try logCase.make()
        let (log, writer) = try fixture.own()
        let (first, second) = (fixture.topic("first"), fixture.topic("second"))
        try log.create([
            TopicRequirement(name: first, partitions: 1), TopicRequirement(name: second, partitions: 1),
        ])
        #expect(log.askPartitions(of: second) == [0] && log.askPartitions(of: fixture.topic("nowhere")) == nil)
        func say(_ values: ClosedRange<Int>) throws {
            var batch = OutputBatch(topics: [first, second])
            for i in values { for topic in 0...1 { batch.add(topic, key: nil, value: "\(topic) \(i)") } }
            try writer.commit(batch, positions: [])
        }
        try say(0...9)
        let read = try fixture.readAll(log, TopicPartition(second, 0))
        try log.assign([SourcePosition(source: TopicPartition(first, 0), next: 0)])
        var all = [try drain(log, source: 0, count: 4, limit: 2), []]
        #expect(try log.add(SourcePosition(source: TopicPartition(second, 0), next: read[3].offset)) == 1)
        try say(10...14)
        all[1] = try drain(log, source: 1, count: 12)
        all[0] += try drain(log, source: 0, count: 15 - all[0].count)
        #expect(all[0].map(\.value) == (0...14).map { bytes("0 \($0)") })
        #expect(all[1].map(\.value) == (3...14).map { bytes("1 \($0)") })
        let absent = SourcePosition(source: TopicPartition(second, 1), next: 0)
        #expect(logError { _ = try log.add(absent) } != nil)
        log.close()
    }
}
