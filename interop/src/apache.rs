//! The genuine article: releases of Apache ZooKeeper from Maven Central, kept under
//! `target/interop`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::servers::root;

/// A release: the newest of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its number.
    pub version: &'static str,
    /// The newest logback that its logging facade knows.
    logback: &'static str,
    /// What it does not know of what the newest knows, in the words of `interop/clients/roo`.
    pub lacks: &'static [&'static str],
}

/// The release that RooKeeper is compared with.
pub const NEWEST: Release = Release {
    version: "3.9.5",
    logback: "1.3.15",
    lacks: &[],
};

/// Releases that our client is to serve too, the oldest first.
pub const OLDER: [Release; 4] = [
    Release {
        version: "3.5.10",
        logback: "1.2.13",
        lacks: &[
            "counts",
            "multi_read",
            "streams",
            "who_am_i",
            "event_zxid",
            "multi_stat",
        ],
    },
    Release {
        version: "3.6.4",
        logback: "1.2.13",
        lacks: &["who_am_i", "watch_modes", "event_zxid", "multi_stat"],
    },
    Release {
        version: "3.7.2",
        logback: "1.2.13",
        lacks: &["watch_modes", "event_zxid"],
    },
    Release {
        version: "3.8.6",
        logback: "1.2.13",
        lacks: &["watch_modes", "event_zxid"],
    },
];

/// The release of this number.
///
/// # Errors
/// When none of [`OLDER`] has it.
pub fn older(version: &str) -> Result<Release> {
    let found = OLDER.iter().find(|release| release.version == version);
    found.copied().with_context(|| {
        let known = OLDER.map(|release| release.version).join(", ");
        format!("no release {version} is known, but {known}")
    })
}

/// The server, and what it needs to run that its own description marks as provided.
fn pom(release: Release) -> String {
    let dependencies = [
        ("org.apache.zookeeper", "zookeeper", release.version),
        ("io.dropwizard.metrics", "metrics-core", "4.1.12.1"),
        ("org.xerial.snappy", "snappy-java", "1.1.10.5"),
        ("commons-cli", "commons-cli", "1.5.0"),
        ("org.jline", "jline", "3.25.1"),
        ("ch.qos.logback", "logback-classic", release.logback),
    ];
    let dependencies: String = dependencies
        .iter()
        .map(|(group, artifact, version)| {
            format!(
                "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                 <version>{version}</version></dependency>\n"
            )
        })
        .collect();
    format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>interop</groupId><artifactId>apache-zookeeper</artifactId><version>1</version>
  <dependencies>
{dependencies}  </dependencies>
</project>
"#
    )
}

/// Log lines of level WARN and above: the tests look for complaints about our files.
const LOGBACK: &str = r#"<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%-5level %logger{0} - %msg%n</pattern></encoder></appender>
  <root level="WARN"><appender-ref ref="OUT"/></root>
</configuration>
"#;

fn home(release: Release) -> PathBuf {
    root().join(format!("target/interop/apache-{}", release.version))
}

/// Fetches a Maven project's runtime libraries once, and gives the directory they are in.
///
/// # Errors
/// When Maven is missing or cannot fetch them.
pub fn libraries(dir: &Path, pom: &str) -> Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let (pom_file, lib) = (dir.join("pom.xml"), dir.join("lib"));
    let done = dir.join("complete");
    if fs::read_to_string(&pom_file).is_ok_and(|old| old == pom) && done.exists() {
        return Ok(lib);
    }
    fs::write(&pom_file, pom)?;
    let status = Command::new("mvn")
        .args([
            "-q",
            "-B",
            "dependency:copy-dependencies",
            "-DoutputDirectory=lib",
        ])
        .arg("-DincludeScope=runtime")
        .current_dir(dir)
        .status()
        .context("start mvn: is Maven installed?")?;
    ensure!(
        status.success(),
        "mvn could not fetch the libraries of {}",
        dir.display()
    );
    fs::write(done, "")?;
    Ok(lib)
}

/// The class path of the newest release and its shell.
///
/// # Errors
/// When it cannot be fetched.
pub fn class_path() -> Result<OsString> {
    class_path_of(NEWEST)
}

/// The class path of a release.
///
/// # Errors
/// When it cannot be fetched.
pub fn class_path_of(release: Release) -> Result<OsString> {
    let home = home(release);
    let lib = libraries(&home, &pom(release))?;
    let conf = home.join("conf");
    fs::create_dir_all(&conf)?;
    fs::write(conf.join("logback.xml"), LOGBACK)?;
    let mut path = OsString::from(lib.join("*"));
    path.push(":");
    path.push(conf);
    Ok(path)
}
