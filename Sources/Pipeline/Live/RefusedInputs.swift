import Telemetry

/// Tells when a log begins and ends to refuse the reading of an input, each once.
struct RefusedInputs {
    private var isOut = false

    /// Whether reading is refused now.
    mutating func look(_ refusal: LogError?, _ telemetry: Log) -> Bool {
        if isOut == (refusal != nil) { return isOut }
        isOut = refusal != nil
        if let refusal {
            telemetry.warn(
                "an input may not be read any more; it is tried again",
                ["reason": .string(refusal.message)]
            )
        } else {
            telemetry.info("all inputs may be read again", [:])
        }
        return isOut
    }
}
