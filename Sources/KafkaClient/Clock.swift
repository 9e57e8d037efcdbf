import Glibc

/// The steady clock of timeouts; nothing that reaches a record reads it.
///
/// No `WorkerClock`: brokers and librdkafka's own threads go by the machine's time, whatever the pipeline's clock says.
enum Clock {
    static func milliseconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) * 1000 + Double(time.tv_nsec) / 1_000_000
    }

    static func sleep(milliseconds: Int) { usleep(UInt32(max(0, milliseconds)) * 1000) }
}
