/// The version of this build, by semantic versioning; `CHANGELOG.md` says what it holds.
let weirVersion = "0.1.0"
