import Glibc

/// The program `weir`.
@main
struct Weir {
    static func main() {
        StopSignal.ignoreBrokenPipes()
        let terminal = Terminal()
        let words = Array(CommandLine.arguments.dropFirst())
        exit(CommandTable.run(words, terminal: terminal).rawValue)
    }
}
