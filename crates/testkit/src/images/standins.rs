//! Replacements for the images that test manifests name: busybox containers that write logs, listen
//! on a port and answer probes. node-exporter is the real program, from Debian.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{
    archive::{FileEntry, Image},
    debian,
};

/// busybox applets that the containers, and users of `kubectl exec`, need.
const APPLETS: [&str; 40] = [
    "sh", "ash", "awk", "cat", "chmod", "cp", "date", "dd", "df", "echo", "env", "false", "find",
    "grep", "head", "hostname", "httpd", "id", "kill", "ln", "ls", "mkdir", "mount", "mv", "nc",
    "printf", "ps", "rm", "sed", "sleep", "sort", "stat", "tail", "tar", "test", "touch", "tr",
    "true", "wc", "wget",
];

/// The entry point of every replacement image.
const SCRIPT: &str = r#"#!/bin/sh
# Logs its start, ticks and stop, serves a page and the usual probe paths, stops on SIGTERM.
name=${STANDIN_NAME:-standin}
stop() { echo "$name: stopping"; kill "$server" 2>/dev/null; exit 0; }
trap stop TERM INT
echo "$name ${STANDIN_VERSION:-} started on $(hostname)"
httpd -f -p "${STANDIN_PORT:-8080}" -h "${STANDIN_ROOT:-/www}" &
server=$!
n=0
while :; do
  n=$((n + 1))
  echo "$name: tick $n"
  sleep 2 & wait $!
done
"#;

/// A replacement image.
#[derive(Debug, Clone, Copy)]
struct StandIn {
    name: &'static str,
    version: &'static str,
    images: &'static [&'static str],
    port: &'static str,
    root: &'static str,
}

const STANDINS: [StandIn; 7] = [
    StandIn {
        name: "nginx",
        version: "latest",
        images: &[
            "dd3av2v4785k4i.xuanyuan.run/library/nginx:latest",
            "nginx:latest",
        ],
        port: "80",
        root: "/usr/share/nginx/html",
    },
    StandIn {
        name: "cadvisor",
        version: "v0.39.3",
        images: &["cadvisor:v0.39.3"],
        port: "8080",
        root: "/www",
    },
    StandIn {
        name: "fluentd",
        version: "v1.14",
        images: &["fluent/fluentd:v1.14"],
        port: "24224",
        root: "/www",
    },
    StandIn {
        name: "fluentd",
        version: "v1.15",
        images: &["fluent/fluentd:v1.15"],
        port: "24224",
        root: "/www",
    },
    StandIn {
        name: "monitoring-agent",
        version: "v1.0.0",
        images: &["monitoring-agent:v1.0.0"],
        port: "8080",
        root: "/www",
    },
    StandIn {
        name: "monitoring-agent",
        version: "v2.0",
        images: &["monitoring-agent:v2.0"],
        port: "8080",
        root: "/www",
    },
    StandIn {
        name: "monitoring-agent",
        version: "v3.0",
        images: &["monitoring-agent:v3.0"],
        port: "8080",
        root: "/www",
    },
];

/// The names of node-exporter images in the manifests.
const NODE_EXPORTER: [&str; 3] = [
    "prom/node-exporter:v0.18.1",
    "prom/node-exporter:v1.3.1",
    "quay.io/prometheus/node-exporter:v1.6.1",
];

/// Builds the image archives of the end-to-end tests into `dir`.
///
/// # Errors
/// When a package cannot be downloaded or a file cannot be written.
pub fn build_all(dir: &Path, cache: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    for standin in STANDINS {
        let file = format!("{}-{}.tar", standin.name, standin.version);
        standin.image(cache)?.write(&dir.join(file))?;
    }
    let alpine = [
        "dd3av2v4785k4i.xuanyuan.run/library/alpine:latest",
        "busybox:latest",
    ];
    busybox(&alpine, cache)?.write(&dir.join("busybox.tar"))?;
    node_exporter(cache)?.write(&dir.join("node-exporter.tar"))
}

/// Builds the two versions of the demo's image into `dir`.
///
/// # Errors
/// As [`build_all`].
pub fn build_demo(dir: &Path, cache: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    for (version, image) in [("v1", "demo/hello:v1"), ("v2", "demo/hello:v2")] {
        demo_image(version, image, cache)?.write(&dir.join(format!("hello-{version}.tar")))?;
    }
    Ok(())
}

/// Builds the image `in-cluster-client:v1` into `dir`: this program as `/client`, and a shell.
///
/// # Errors
/// As [`build_all`].
pub fn build_in_cluster_client(dir: &Path, cache: &Path, program: &Path) -> anyhow::Result<()> {
    let image = busybox(&["in-cluster-client:v1"], cache)?;
    let mut image = with_program(image, "client", program)?;
    image.entrypoint = owned(&["/bin/sleep", "86400"]);
    image.write(&dir.join("in-cluster-client.tar"))
}

fn demo_image(version: &str, image: &str, cache: &Path) -> anyhow::Result<Image> {
    let mut built = served("hello", version, &[image], cache)?;
    built
        .env
        .extend(["STANDIN_PORT=8080".into(), "STANDIN_ROOT=/www".into()]);
    Ok(built)
}

impl StandIn {
    fn image(&self, cache: &Path) -> anyhow::Result<Image> {
        let mut image = served(self.name, self.version, self.images, cache)?;
        image.env.push(format!("STANDIN_PORT={}", self.port));
        image.env.push(format!("STANDIN_ROOT={}", self.root));
        Ok(image.directory(self.root.trim_start_matches('/'), 0o755))
    }
}

fn served(name: &str, version: &str, names: &[&str], cache: &Path) -> anyhow::Result<Image> {
    let mut image = busybox(names, cache)?.file("standin", SCRIPT, 0o755).file(
        "www/index.html",
        format!("{name} {version}\n"),
        0o644,
    );
    for page in ["health", "healthz", "ready", "startup", "metrics"] {
        image = image.file(&format!("www/{page}"), "ok\n", 0o644);
    }
    image.entrypoint = vec!["/standin".into()];
    image.env.push(format!("STANDIN_NAME={name}"));
    image.env.push(format!("STANDIN_VERSION={version}"));
    Ok(image)
}

fn busybox(names: &[&str], cache: &Path) -> anyhow::Result<Image> {
    let files = debian::unpack("busybox-static", cache)?;
    let program = fs::read(files.join("bin/busybox")).context("read busybox")?;
    let mut image = Image {
        names: owned(names),
        ..Image::default()
    }
    .file("bin/busybox", program, 0o755)
    .file(
        "etc/passwd",
        "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
        0o644,
    )
    .file("etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644)
    .directory("tmp", 0o1777)
    .directory("var/log", 0o755)
    .directory("var/run", 0o755);
    for applet in APPLETS {
        let path = PathBuf::from("bin").join(applet);
        image.files.insert(path, FileEntry::Link("busybox".into()));
    }
    image.entrypoint = vec!["/bin/sh".into()];
    image.env = vec!["PATH=/bin".into()];
    Ok(image)
}

fn node_exporter(cache: &Path) -> anyhow::Result<Image> {
    let files = debian::unpack("prometheus-node-exporter", cache)?;
    let program = files.join("usr/bin/prometheus-node-exporter");
    let image = Image {
        names: owned(&NODE_EXPORTER),
        ..Image::default()
    }
    .file("etc/passwd", "nobody:x:65534:65534::/:/bin/false\n", 0o644);
    let mut image = with_program(image, "bin/node_exporter", &program)?;
    image.entrypoint = vec!["/bin/node_exporter".into()];
    Ok(image)
}

/// Adds a program with the libraries that it needs.
fn with_program(image: Image, path: &str, program: &Path) -> anyhow::Result<Image> {
    let read = |file: &Path| fs::read(file).with_context(|| format!("read {}", file.display()));
    let mut image = image.file(path, read(program)?, 0o755);
    for library in debian::libraries(program)? {
        let inside = library.strip_prefix("/").unwrap_or(&library).to_owned();
        let file = FileEntry::File(read(&library)?, 0o755);
        image.files.insert(inside, file);
    }
    Ok(image)
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
