/// Completion scripts, derived from the command table.
///
/// They start no process: everything they know is in the script.
enum Completion {
    /// The body of `weir completion SHELL`.
    static func run(_ parsed: ParsedArguments, _ terminal: Terminal) -> ExitCode {
        let definitions = CommandTable.definitions
        switch parsed.required("SHELL") {
        case "bash": terminal.write(bash(definitions))
        case "zsh": terminal.write(zsh(definitions))
        default: terminal.write(fish(definitions))
        }
        return .ok
    }

    // MARK: bash

    static func bash(_ definitions: [CommandDefinition]) -> String {
        var flags = ""
        var values = ""
        var lists: [String] = []
        for definition in definitions {
            let name = definition.name
            let words = definition.allFlags.map { "--\($0.name)" } + definition.arguments.flatMap { choices($0.value) }
            flags += "        \(name)) words='\(words.joined(separator: " "))' ;;\n"
            for flag in definition.flags {
                guard let value = flag.value else { continue }
                values += "        '\(name) --\(flag.name)') kind='\(bashKind(value))' ;;\n"
                if flag.takesList { lists.append("'\(name) --\(flag.name)'") }
            }
            if let argument = definition.arguments.first, choices(argument.value).isEmpty {
                values += "        '\(name) ') kind='\(bashKind(argument.value))' ;;\n"
            }
        }
        let commands = definitions.map(\.name).joined(separator: " ")
        return """
            # weir \(weirVersion): completion for bash. Load it with: source <(weir completion bash)
            _weir() {
                local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} flag='' words='' kind='' i
                COMPREPLY=()
                if ((COMP_CWORD == 1)); then
                    mapfile -t COMPREPLY < <(compgen -W '\(commands) help --help --version' -- "$word")
                    return
                fi
                # bash splits --flag=value into three words.
                [[ $word == '=' ]] && word=''
                # The flag this word may be a value of: the word before, or the list option it stands in.
                for ((i = COMP_CWORD - 1; i > 1; i--)); do
                    [[ ${COMP_WORDS[i]} == -* ]] && { flag=${COMP_WORDS[i]}; break; }
                done
                if [[ -n $flag ]] && ((i < COMP_CWORD - 1)) && [[ ${COMP_WORDS[COMP_CWORD - 1]} != '=' ]]; then
                    case "$command $flag" in
                    \(lists.isEmpty ? "''" : lists.joined(separator: " | "))) ;;
                    *) flag='' ;;
                    esac
                fi
                case "$command $flag" in
            \(values.dropLast())
                esac
                case "$command" in
            \(flags.dropLast())
                    help) words='\(commands)' ;;
                esac
                if [[ $word == -* ]]; then
                    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
                    return
                fi
                case "$kind" in
                    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
                    directory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
                    none) ;;
                    ?*) mapfile -t COMPREPLY < <(compgen -W "${kind//,/ }" -- "$word") ;;
                    *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word") ;;
                esac
            }
            complete -F _weir weir

            """
    }

    private static func bashKind(_ value: ValueKind) -> String {
        switch value {
        case .file: "file"
        case .directory: "directory"
        case .choice(let choices): choices.joined(separator: ",")
        case .text, .integer, .duration: "none"
        }
    }

    // MARK: zsh

    static func zsh(_ definitions: [CommandDefinition]) -> String {
        var commands = ""
        var cases = ""
        for definition in definitions {
            commands += "        \(quoted("\(definition.name):\(definition.summary)"))\n"
            cases += "        \(definition.name)) _arguments -s"
            for flag in definition.allFlags { cases += " \\\n            \(quoted(zshFlag(flag)))" }
            for (index, argument) in definition.arguments.enumerated() {
                cases += " \\\n            \(quoted("\(index + 1):\(argument.name):\(zshAction(argument.value))"))"
            }
            cases += " ;;\n"
        }
        return """
            #compdef weir
            # weir \(weirVersion): completion for zsh. Store it as _weir in a folder of $fpath.
            _weir() {
                local -a commands=(
            \(commands.dropLast())
                )
                if ((CURRENT == 2)); then
                    _describe 'command' commands
                    return
                fi
                local command=${words[2]}
                shift words
                ((CURRENT--))
                case "$command" in
            \(cases.dropLast())
                    help) _describe 'command' commands ;;
                esac
            }
            # Loaded from $fpath it is called at once; sourced, it only registers itself.
            if [[ ${funcstack[1]:-} == _weir ]]; then _weir "$@"; else compdef _weir weir; fi

            """
    }

    private static func zshFlag(_ flag: FlagDefinition) -> String {
        let help = flag.help.map { "[]:\\".contains($0) ? "\\\($0)" : String($0) }.joined()
        var text = (flag.takesList ? "*" : "") + "--\(flag.name)[\(help)]"
        if let value = flag.value { text += ":\(flag.valueName):\(zshAction(value))" }
        return text
    }

    private static func zshAction(_ value: ValueKind) -> String {
        switch value {
        case .file: "_files"
        case .directory: "_files -/"
        case .choice(let choices): "(" + choices.joined(separator: " ") + ")"
        case .text, .integer, .duration: " "
        }
    }

    // MARK: fish

    static func fish(_ definitions: [CommandDefinition]) -> String {
        var text = "# weir \(weirVersion): completion for fish.\ncomplete -c weir -f\n"
        for definition in definitions {
            let name = definition.name
            text += "complete -c weir -n __fish_use_subcommand -a \(name) -d \(fishQuoted(definition.summary))\n"
            let condition = "-n '__fish_seen_subcommand_from \(name)'"
            for flag in definition.allFlags {
                text += "complete -c weir \(condition) -l \(flag.name)"
                if let short = flag.short { text += " -s \(short)" }
                if let value = flag.value { text += fishAction(value) }
                text += " -d \(fishQuoted(flag.help))\n"
            }
            for argument in definition.arguments {
                text += "complete -c weir \(condition)" + fishArgument(argument.value) + "\n"
            }
        }
        return text
    }

    private static func fishAction(_ value: ValueKind) -> String {
        switch value {
        case .file: " -r -F"
        case .directory: " -x -a '(__fish_complete_directories)'"
        case .choice(let choices): " -x -a '\(choices.joined(separator: " "))'"
        case .text, .integer, .duration: " -x"
        }
    }

    private static func fishArgument(_ value: ValueKind) -> String {
        switch value {
        case .file: " -F"
        case .directory: " -a '(__fish_complete_directories)'"
        case .choice(let choices): " -a '\(choices.joined(separator: " "))'"
        case .text, .integer, .duration: ""
        }
    }

    // MARK: Quoting

    private static func choices(_ value: ValueKind) -> [String] {
        if case .choice(let choices) = value { return choices }
        return []
    }

    /// For POSIX shells: inside single quotes only the quote itself is special.
    private static func quoted(_ text: String) -> String {
        "'" + text.map { $0 == "'" ? "'\\''" : String($0) }.joined() + "'"
    }

    /// For fish, where `\'` and `\\` work inside single quotes.
    private static func fishQuoted(_ text: String) -> String {
        "'" + text.map { "'\\".contains($0) ? "\\\($0)" : String($0) }.joined() + "'"
    }
}

extension Completion: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "completion",
            summary: "print a completion script for your shell",
            discussion: "The script is derived from the same table as this help.",
            arguments: [
                ArgumentDefinition(name: "SHELL", value: .choice(["bash", "zsh", "fish"]), help: "bash, zsh or fish")
            ],
            flags: [],
            examples: [
                .init(
                    line: "source <(weir completion bash)",
                    effect: "bash, this session; put it into ~/.bashrc to keep it"
                ),
                .init(line: "weir completion zsh > \"${fpath[1]}/_weir\"", effect: "zsh"),
                .init(line: "weir completion fish > ~/.config/fish/completions/weir.fish", effect: "fish"),
            ]
        )
    }
}
