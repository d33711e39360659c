//! The genuine article: Apache ZooKeeper 3.9.5 from Maven Central, kept under `target/interop`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::servers::root;

/// The server, and what it needs to run that its own description marks as provided.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>interop</groupId><artifactId>apache-zookeeper</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.zookeeper</groupId><artifactId>zookeeper</artifactId><version>3.9.5</version></dependency>
    <dependency><groupId>io.dropwizard.metrics</groupId><artifactId>metrics-core</artifactId><version>4.1.12.1</version></dependency>
    <dependency><groupId>org.xerial.snappy</groupId><artifactId>snappy-java</artifactId><version>1.1.10.5</version></dependency>
    <dependency><groupId>commons-cli</groupId><artifactId>commons-cli</artifactId><version>1.5.0</version></dependency>
    <dependency><groupId>org.jline</groupId><artifactId>jline</artifactId><version>3.25.1</version></dependency>
    <dependency><groupId>ch.qos.logback</groupId><artifactId>logback-classic</artifactId><version>1.3.15</version></dependency>
  </dependencies>
</project>
"#;

/// Log lines of level WARN and above: the tests look for complaints about our files.
const LOGBACK: &str = r#"<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%-5level %logger{0} - %msg%n</pattern></encoder></appender>
  <root level="WARN"><appender-ref ref="OUT"/></root>
</configuration>
"#;

fn home() -> PathBuf {
    root().join("target/interop/apache-3.9.5")
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

/// The class path of the genuine server and its shell.
///
/// # Errors
/// When it cannot be fetched.
pub fn class_path() -> Result<OsString> {
    let lib = libraries(&home(), POM)?;
    let conf = home().join("conf");
    fs::create_dir_all(&conf)?;
    fs::write(conf.join("logback.xml"), LOGBACK)?;
    let mut path = OsString::from(lib.join("*"));
    path.push(":");
    path.push(conf);
    Ok(path)
}
