import CPlatform

/// The processor cores this process may use.
public enum Cores {
    /// How many, at least 1: what `taskset` and container limits leave.
    public static var available: Int { max(1, Int(weir_core_count())) }

    /// Bytes of memory the process holds in RAM now, for metrics; -1 when the system does not say.
    public static var residentBytes: Int64 { weir_resident_bytes() }
}
