public import RuleLanguage

extension LockstepConfiguration {
    /// The settings of a topology's detector.
    ///
    /// - Parameters:
    ///   - events: indices into `schemas` of the types it learns from.
    ///   - actor: field or entity. Any type that has it is looked up among the rings; a type without it by its subject, if that is
    ///     the same kind of entity: an item called `42` must not be taken for an account called `42`.
    ///   - target: field or entity.
    ///   - minimumActors: fewer than 3 count as 3: two who shop alike are no ring.
    ///   - minimumTargets: taken into 2...8, which is what the detector can tell.
    ///   - lookBack: taken into 0...``Lockstep/lookBackMax``.
    public init(
        name: String,
        events: [Int],
        actor: String,
        target: String,
        windowMilliseconds: Int64,
        minimumActors: Int,
        minimumTargets: Int,
        lookBack: Int = 0,
        schemas: [EventSchema],
        seed: UInt64
    ) {
        self.init(name: name, seed: seed)
        window = min(max(1, windowMilliseconds), memory)
        self.minimumActors = min(max(3, minimumActors), Lockstep.actorsPerPair)
        self.minimumTargets = min(max(2, minimumTargets), 8)
        self.lookBack = min(max(0, lookBack), Lockstep.lookBackMax)
        references = EventReferences(schemas)
        func text(_ type: Int, _ name: String) -> Int {
            guard let field = schemas[type].field(named: name), schemas[type].fields[field].type == .string else {
                return -1
            }
            return field
        }
        func kind(_ type: Int, _ field: Int) -> String {
            schemas[type].fields[field].entity ?? schemas[type].fields[field].name
        }
        func kind(_ name: String) -> String {
            for type in events {
                let field = text(type, name)
                if field >= 0 { return kind(type, field) }
            }
            return name
        }
        let actorKind = kind(actor)
        let targetKind = kind(target)
        for type in schemas.indices {
            let isLearnt = events.contains(type)
            let field = text(type, actor)
            let subject = schemas[type].subjectField
            if field >= 0, isLearnt || kind(type, field) == actorKind {
                actorFields.append(field)
            } else {
                actorFields.append(kind(type, subject) == actorKind ? subject : -1)
            }
            targetFields.append(isLearnt && field >= 0 ? text(type, target) : -1)
        }
        actorsNoun = LockstepConfiguration.plural(actorKind)
        targetsNoun = LockstepConfiguration.plural(targetKind)
        let names = events.map { schemas[$0].name }
        // `coupon_redeemed` on coupons: they redeemed coupons. Any other name is quoted as it is.
        if names.count == 1, let name = names.first, name.hasPrefix(targetKind + "_"), name.hasSuffix("ed") {
            verb = String(name.dropFirst(targetKind.utf8.count + 1).map { $0 == "_" ? " " : $0 })
        } else {
            verb = "acted (" + names.joined(separator: ", ") + ") on"
        }
    }

    /// English plural of an entity's name.
    static func plural(_ word: String) -> String {
        for ending in ["s", "x", "ch", "sh"] where word.hasSuffix(ending) { return word + "es" }
        if word.hasSuffix("y"), let before = word.dropLast().last, !"aeiou".contains(before) {
            return word.dropLast() + "ies"
        }
        return word + "s"
    }
}
