extension WindowPlan {
    /// What a slot's state is made of, in words: its kinds of key, their streams and the features that lay those out.
    ///
    /// Two plans with the same text lay out the same bytes, so a state is read by the text that it was written by.
    var layoutText: String {
        var text = "windows 2: sweep, counters, arena, tables"
        for table in tables {
            text += "; key \(table.name)"
            for s in table.streams {
                let stream = streams[s]
                text +=
                    "; stream \(stream.stateBytes) + \(stream.entryBytes) of \(stream.features.joined(separator: ", "))"
            }
        }
        return text
    }
}
