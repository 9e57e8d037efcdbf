import Pipeline
import Testing

@Suite struct Digests {
    @Test func `SHA-256 agrees with the vectors of FIPS 180-4`() {
        #expect(SHA256.hex(of: []) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(SHA256.hex(of: Array("abc".utf8)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        var parts = SHA256()
        for _ in 0..<1000 { parts.update([UInt8](repeating: 0x61, count: 1000)) }
        #expect(
            Hexadecimal.text(of: parts.finish()) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        )
    }

    @Test(arguments: [
        // RFC 4231, cases 1, 2, 3, 6 and 7.
        (
            [UInt8](repeating: 0x0b, count: 20), Array("Hi There".utf8),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        ),
        (
            Array("Jefe".utf8), Array("what do ya want for nothing?".utf8),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        ),
        (
            [UInt8](repeating: 0xaa, count: 20), [UInt8](repeating: 0xdd, count: 50),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
        ),
        (
            [UInt8](repeating: 0xaa, count: 131), Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        ),
        (
            [UInt8](repeating: 0xaa, count: 131),
            Array(
                ("This is a test using a larger than block-size key and a larger than block-size data. "
                    + "The key needs to be hashed before being used by the HMAC algorithm.").utf8
            ),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"
        ),
    ])
    func `HMAC-SHA-256 agrees with RFC 4231`(key: [UInt8], message: [UInt8], code: String) {
        let hmac = HMACSHA256(key: key)
        #expect(hmac.hex(of: message) == code)
        #expect(hmac.hex(of: message) == code, "a code leaves no trace in the next one")
    }

    /// The RFC's namespace of domain names: one number below that of URLs.
    private static let domains: [UInt8] = {
        var name = UUIDv5.url
        name[3] -= 1
        return name
    }()

    @Test func `name-based UUIDs agree with RFC 9562 and Python's uuid5`() {
        #expect(UUIDv5(namespace: Self.domains).text(name: "www.example.com") == "2ed6657d-e927-568b-95e1-2665a8aea6a2")
        #expect(UUIDv5(namespace: Self.domains).text(name: "python.org") == "886313e1-3b8a-5372-9b90-0c9aee199e5d")
        #expect(UUIDv5(namespace: UUIDv5.url).text(name: "") == "1b4db7eb-4057-5ddf-91e0-36dec72071f5")
        #expect(UUIDv5(namespace: UUIDv5.url).text(name: "Straße/ü/0") == "ec438ae3-e927-5dfa-9fe4-7920a1a2f766")
        let derived = UUIDv5(namespace: UUIDv5(namespace: UUIDv5.url).bytes(name: "https://weir.dev/verdicts"))
        #expect(derived.text(name: "orders/3/1234567/marketplace") == "d658994e-756c-5da1-8d46-a4c21f290061")
    }
}
