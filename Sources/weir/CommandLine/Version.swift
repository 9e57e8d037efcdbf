import Pipeline

/// The version of this build, the one that verdicts name.
let weirVersion = Deployment.engineVersion
