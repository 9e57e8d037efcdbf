import CPlatform

/// The processor cores this process may use.
public enum Cores {
    /// How many, at least 1: what `taskset` and container limits leave.
    public static var available: Int { max(1, Int(weir_core_count())) }
}
