import Foundation
import Testing

@testable import RuleLanguage

/// The table: a case begins with `=== its name`, holds rule text, `---`, and what the compiler says.
@Test func `every complaint names its place, its reason and a remedy`() throws {
    let table = try Fixtures.text("diagnostics.txt")
    var updated = ""
    for part in table.components(separatedBy: "=== ").dropFirst() {
        let lines = part.components(separatedBy: "\n")
        let name = lines[0]
        let body = lines.dropFirst().joined(separator: "\n")
        let pieces = body.components(separatedBy: "---\n")
        let said = Shop.complaints(pieces[0])
        updated += "=== \(name)\n\(pieces[0])---\n\(said)"
        if !Fixtures.updates {
            #expect(said == (pieces.count > 1 ? pieces[1] : ""), "\(name)")
        }
    }
    if Fixtures.updates { try updated.write(to: Fixtures.url("diagnostics.txt"), atomically: true, encoding: .utf8) }
}
