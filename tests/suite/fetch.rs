//! `ecqx data`: every way in which a download goes wrong, against a server on this machine. What all tests hold: nothing
//! stands at the place of a data set until all of it is there and checked.

use crate::ecqx;
use crate::loopback::{Server, ranged, status, whole};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use sha2::Digest;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

/// A tar archive, gzipped. Contents of noise, so that it does not shrink.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// 100 kB in two files, below `set/`.
fn small() -> Vec<u8> {
    archive(&[("set/a.bin", &noise(60_000)), ("set/deep/b.bin", &noise(40_000))])
}

/// A table with one data set made of one archive.
fn table(folder: &Path, url: &str, content: &[u8]) {
    let sha256: String = sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        "sources:\n  - name: small\n    kind: dataset\n    about: two files\n    page: none\n    licence: CC0\n    targets:\n      \
         - path: set\n        contents: [{{path: a.bin, bytes: 60000}}]\n        files:\n          - urls: ['{url}']\n            \
         bytes: {}\n            sha256: {sha256}\n            read: this test\n            unpack: .\n",
        content.len()
    );
    fs::write(folder.join("table.yaml"), text).unwrap();
}

/// `ecqx data …` with the table and data folder of `folder`; other proxies than the test's play no part.
fn data(folder: &Path, arguments: &[&str]) -> assert_cmd::Command {
    let mut command = ecqx();
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.args(["--data-dir"]).arg(folder.join("data")).arg("data").args(arguments);
    command.arg("--sources").arg(folder.join("table.yaml"));
    command
}

fn fetch(folder: &Path, more: &[&str]) -> Output {
    data(folder, &[&["fetch", "small", "--retries", "2"], more].concat()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What stands in the data folder, hidden things aside.
fn standing(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder.join("data")) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

/// Fetches against a server and expects the whole set.
fn succeeds(server: &Server, content: &[u8], prepare: impl Fn(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    table(folder.path(), &server.url("small.tar.gz"), content);
    prepare(folder.path());
    let output = fetch(folder.path(), &["--stall-seconds", "1"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(fs::read(folder.path().join("data/set/a.bin")).unwrap(), noise(60_000));
    assert_eq!(fs::read(folder.path().join("data/set/deep/b.bin")).unwrap(), noise(40_000));
    assert_eq!(standing(folder.path()), ["set"]);
    let verified = data(folder.path(), &["verify", "small"]).output().unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stdout));
    said
}

/// Fetches against a server and expects a failure that leaves nothing. Returns what was said.
fn fails(server: &Server, content: &[u8], code: i32) -> String {
    let folder = tempfile::tempdir().unwrap();
    table(folder.path(), &server.url("small.tar.gz"), content);
    let output = fetch(folder.path(), &["--stall-seconds", "1"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(standing(folder.path()).is_empty(), "{:?}", standing(folder.path()));
    let verified = data(folder.path(), &["verify", "small"]).output().unwrap();
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified.stdout));
    said
}

/// From nothing to a set that is verified file by file; a second fetch asks nobody, and damage is found and left alone.
#[test]
fn fetch_verify_and_leave_alone() {
    let content = small();
    let served = content.clone();
    let server = Server::new(move |request, stream| ranged(stream, request, &served, usize::MAX));
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    table(folder, &server.url("small.tar.gz"), &content);
    let listed = data(folder, &["ls", "--json"]).output().unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(
        (&listed["items"][0]["name"], &listed["items"][0]["present"]),
        (&"small".into(), &false.into())
    );
    let fetched = fetch(folder, &["--json"]);
    let fetched: Value = serde_json::from_slice(&fetched.stdout).unwrap();
    assert_eq!(fetched["items"][0]["state"], "fetched");
    assert_eq!(fetched["items"][0]["downloaded"], content.len());
    assert_eq!(server.requests(), ["GET /small.tar.gz"]);

    let again = fetch(folder, &[]);
    assert!(text(&again.stdout).contains("is there already, complete"), "{}", text(&again.stdout));
    assert_eq!(server.requests().len(), 1);
    let verify = || data(folder, &["verify", "small"]).output().unwrap();
    assert!(text(&verify().stdout).contains("intact (file by file)"));
    // The archive is gone, the lock and the manifest are hidden.
    assert_eq!(standing(folder), ["set"]);
    assert_eq!(fs::read_dir(folder.join("data/.ecqx/downloads")).unwrap().count(), 0);

    let mut bytes = noise(40_000);
    bytes[777] ^= 1;
    let deep = folder.join("data/set/deep/b.bin");
    for (prepare, expected) in [
        (Box::new(|| fs::write(&deep, &bytes).unwrap()) as Box<dyn Fn()>, "set/deep/b.bin has changed"),
        (Box::new(|| fs::remove_file(&deep).unwrap()), "set/deep/b.bin is missing"),
        (Box::new(|| fs::write(folder.join("data/set/c.bin"), "x").unwrap()), "c.bin was added"),
    ] {
        prepare();
        let found = verify();
        assert_eq!(found.status.code(), Some(1));
        assert!(text(&found.stdout).contains(expected), "{}", text(&found.stdout));
        let refused = fetch(folder, &[]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(text(&refused.stderr).contains("move it away"), "{}", text(&refused.stderr));
    }
    assert_eq!(server.requests().len(), 1);
}

/// A server that closes every connection after 30 kB: the download goes on where it stopped.
#[test]
fn truncated_answers_are_continued() {
    let content = small();
    let served = content.clone();
    let server = Server::new(move |request, stream| ranged(stream, request, &served, 30_000));
    let said = succeeds(&server, &content, |_| {});
    assert!(said.contains("trying again"), "{said}");
    let requests = server.requests();
    assert!(requests.len() >= 4 && requests[1] == "GET /small.tar.gz from 30000", "{requests:?}");
}

/// A server without ranges: the file begins anew, and nothing is appended twice.
#[test]
fn ignored_ranges_begin_anew() {
    let content = small();
    let served = content.clone();
    let server = Server::new(move |request, stream| {
        whole(stream, &served, if request.number < 2 { 40_000 } else { usize::MAX })
    });
    let said = succeeds(&server, &content, |_| {});
    assert!(said.contains("does not resume"), "{said}");
    assert_eq!(server.requests().len(), 3);
}

/// The part of another version of the file, or one that is too long: the checksum tells, and the file begins anew.
#[test]
fn wrong_parts_begin_anew() {
    let content = small();
    let served = content.clone();
    let server = Server::new(move |request, stream| ranged(stream, request, &served, usize::MAX));
    for length in [5_000, content.len(), content.len() + 10] {
        let said = succeeds(&server, &content, |folder| {
            let downloads = folder.join("data/.ecqx/downloads");
            fs::create_dir_all(&downloads).unwrap();
            fs::write(downloads.join("small.tar.gz.part"), vec![1; length]).unwrap();
        });
        assert_eq!(said.contains("starting from the beginning"), length <= content.len(), "{length}: {said}");
    }
}

/// Bytes that change on the way, pages in place of files, other lengths, endless answers: not the published file.
#[test]
fn corrupt_answers_are_refused() {
    let content = small();
    let mut changed = content.clone();
    changed[50_000] ^= 0x10;
    let server = Server::new(move |request, stream| ranged(stream, request, &changed, usize::MAX));
    let said = fails(&server, &content, 1);
    assert!(said.contains("not the published file: sha256 is"), "{said}");

    let server = Server::new(|_, stream| whole(stream, b"<html>log in first</html>", usize::MAX));
    let said = fails(&server, &content, 1);
    assert!(said.contains("25 bytes in place of"), "{said}");

    let server = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>log in first</html>")
    });
    let said = fails(&server, &content, 1);
    assert!(said.contains("HTML"), "{said}");

    let server = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        loop {
            stream.write_all(&[0; 4096])?;
        }
    });
    let said = fails(&server, &content, 1);
    assert!(said.contains("sends more than"), "{said}");
}

/// A server that falls silent in the middle is left after the time given, and the next connection goes on.
#[test]
fn silent_servers_are_left() {
    let content = small();
    let served = content.clone();
    let server = Server::new(move |request, stream| {
        if request.number == 0 {
            ranged(stream, request, &served, 20_000)?;
            stream.flush()?;
            std::thread::sleep(Duration::from_secs(20));
            return Ok(());
        }
        ranged(stream, request, &served, usize::MAX)
    });
    let began = Instant::now();
    let said = succeeds(&server, &content, |_| {});
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(said.contains("silent"), "{said}");
    assert_eq!(server.requests()[1], "GET /small.tar.gz from 20000");
}

/// Redirects are followed, with the range; a circle of them ends.
#[test]
fn redirects_are_followed() {
    let content = small();
    let served = content.clone();
    let server = Server::new(move |request, stream| match request.line.as_str() {
        "GET /small.tar.gz" => status(stream, "302 Found", "Location: /elsewhere\r\n"),
        _ => ranged(stream, request, &served, 50_000),
    });
    succeeds(&server, &content, |_| {});
    assert!(server.requests().contains(&"GET /elsewhere from 50000".to_owned()), "{:?}", server.requests());
    let server = Server::new(|_, stream| status(stream, "302 Found", "Location: /small.tar.gz\r\n"));
    let said = fails(&server, &content, 1);
    assert!(said.contains("redirects more than"), "{said}");
}

/// What is not there is not asked for again; the message says which file to put where.
#[test]
fn not_found_says_what_to_do() {
    let server = Server::new(|_, stream| status(stream, "404 Not Found", ""));
    let said = fails(&server, &small(), 1);
    assert!(said.contains("answers 404 (Not Found)"), "{said}");
    let hint = said.split("hint: ").nth(1).unwrap();
    for part in ["small.tar.gz", "bytes, sha256 ", "data/small.tar.gz", "--mirror"] {
        assert!(hint.contains(part), "{part}: {hint}");
    }
    assert_eq!(server.requests().len(), 1);
}

/// A busy server is asked again, as often as told; the waiting time it names is kept.
#[test]
fn busy_servers_are_asked_again() {
    let content = small();
    let served = content.clone();
    let server = Server::new(move |request, stream| match request.number {
        0 | 1 => status(stream, "503 Service Unavailable", "Retry-After: 0\r\n"),
        _ => ranged(stream, request, &served, usize::MAX),
    });
    succeeds(&server, &content, |_| {});
    assert_eq!(server.requests().len(), 3);
    let server = Server::new(|_, stream| status(stream, "503 Service Unavailable", "Retry-After: 0\r\n"));
    let said = fails(&server, &content, 1);
    assert!(said.contains("answers 503"), "{said}");
    assert_eq!(server.requests().len(), 3);
}

/// Without a network: the message says which file to put where, and with the file there no network is needed. A wrong file
/// is named. The user's file stays.
#[test]
fn offline_with_the_file_by_hand() {
    let content = small();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // A port that nobody listens on any more.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    table(folder, &format!("http://{dead}/small.tar.gz"), &content);
    let output = data(folder, &["fetch", "small", "--retries", "0"]).output().unwrap();
    let said = text(&output.stderr);
    let place = folder.join("data/small.tar.gz");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("put it at {}", place.display())), "{said}");

    fs::write(&place, &content[..1000]).unwrap();
    let output = fetch(folder, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("has 1000 bytes in place of"), "{}", text(&output.stderr));
    fs::write(&place, &content).unwrap();
    assert_eq!(fetch(folder, &[]).status.code(), Some(0));
    assert_eq!(standing(folder), ["set", "small.tar.gz"]);
}

/// `--mirror` asks another server for the same file name; a proxy of the environment is asked instead of the publisher.
#[test]
fn mirrors_and_proxies() {
    let content = small();
    let served = content.clone();
    let server = Server::new(move |request, stream| {
        if request.line.starts_with("CONNECT") {
            write!(stream, "HTTP/1.1 200 OK\r\n\r\n")?;
            let mut asked = [0; 4096];
            let _ = std::io::Read::read(stream, &mut asked)?;
        }
        ranged(stream, request, &served, usize::MAX)
    });
    for mirror in ["pub", "pub/"] {
        let folder = tempfile::tempdir().unwrap();
        table(folder.path(), "http://publisher.invalid/path/small.tar.gz", &content);
        let output = fetch(folder.path(), &["--mirror", &server.url(mirror)]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(server.requests().pop().unwrap(), "GET /pub/small.tar.gz");
    }
    let folder = tempfile::tempdir().unwrap();
    table(folder.path(), "http://publisher.invalid/path/small.tar.gz", &content);
    let mut command = data(folder.path(), &["fetch", "small", "--retries", "0"]);
    let output = command.env("HTTP_PROXY", server.url("")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(server.requests().pop().unwrap().contains("publisher.invalid"), "{:?}", server.requests());
    let output = fetch(folder.path(), &["--mirror", "ftp://x"]);
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("give an address"));
}

/// Archives with the right checksum that would write elsewhere, or that unpack to gigabytes, or that hold something else.
#[test]
fn hostile_archives_are_refused() {
    let zeros = vec![0; 40 << 20];
    for (content, expected) in [
        (archive(&[("../evil.bin", b"x")]), "outside of its folder"),
        (archive(&[("/tmp/evil-of-ecqx.bin", b"x")]), "outside of its folder"),
        (archive(&[("set/a.bin", &zeros)]), "out of proportion"),
        (archive(&[("set/other.bin", b"x")]), "a.bin is missing"),
        (archive(&[("set/a.bin", b"short")]), "a.bin has 5 bytes in place of 60000"),
        (noise(1000), "small.tar.gz"),
    ] {
        let served = content.clone();
        let server = Server::new(move |request, stream| ranged(stream, request, &served, usize::MAX));
        let said = fails(&server, &content, 2);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

/// A fetch that is killed leaves a part, which the next one continues; a second fetch at the same time is refused.
#[test]
fn killed_fetches_continue() {
    let content = small();
    let served = content.clone();
    let server = Server::new(move |request, stream| {
        if request.number == 0 {
            ranged(stream, request, &served, 25_000)?;
            stream.flush()?;
            std::thread::sleep(Duration::from_secs(30));
        }
        ranged(stream, request, &served, usize::MAX)
    });
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    table(folder, &server.url("small.tar.gz"), &content);
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("ecqx"))
        .env_remove("HTTP_PROXY")
        .env_remove("http_proxy")
        .env_remove("ALL_PROXY")
        .env_remove("all_proxy")
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["data", "fetch", "small", "--sources"])
        .arg(folder.join("table.yaml"))
        .spawn()
        .unwrap();
    let part = folder.join("data/.ecqx/downloads/small.tar.gz.part");
    let began = Instant::now();
    while fs::metadata(&part).map_or(0, |part| part.len()) < 25_000 {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
    let other = fetch(folder, &[]);
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).contains("another process is fetching it"), "{}", text(&other.stderr));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(standing(folder).is_empty());
    assert_eq!(fetch(folder, &[]).status.code(), Some(0));
    assert_eq!(server.requests()[1], "GET /small.tar.gz from 25000");
    assert_eq!(standing(folder), ["set"]);
}

/// One folder from two archives, and a checkpoint beside others: each appears whole or not at all.
#[test]
fn two_archives_and_a_single_file() {
    let (one, two, weights) =
        (archive(&[("set/a.bin", b"1")]), archive(&[("set/b.bin", b"2")]), noise(5_000));
    let hash = |content: &[u8]| -> String {
        sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let name = format!("net-{}.pth", &hash(&weights)[..8]);
    let files = [one.clone(), two.clone(), weights.clone()];
    let server = Server::new(move |request, stream| match request.line.as_str() {
        "GET /one.tar.gz" => ranged(stream, request, &files[0], usize::MAX),
        // The second archive is not to be had at first.
        "GET /two.tar.gz" if request.number == 1 => status(stream, "404 Not Found", ""),
        "GET /two.tar.gz" => ranged(stream, request, &files[1], usize::MAX),
        _ => ranged(stream, request, &files[2], usize::MAX),
    });
    let file = |url: &str, content: &[u8], more: &str| {
        format!(
            "          - urls: ['{}']\n            sha256_prefix: {}\n            read: here\n{more}",
            server.url(url),
            &hash(content)[..8]
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let unpack = "            unpack: .\n";
    let source = |name: &str, path: &str| {
        format!(
            "  - name: {name}\n    kind: checkpoint\n    about: x\n    page: x\n    licence: x\n    targets:\n      - path: \
             {path}\n        files:\n"
        )
    };
    let text_of_table = [
        "sources:\n".to_owned(),
        source("small", "set"),
        file("one.tar.gz", &one, unpack),
        file("two.tar.gz", &two, unpack),
        source("weights", &format!("pretrained/{name}")),
        file(&name, &weights, ""),
    ]
    .concat();
    fs::write(folder.join("table.yaml"), text_of_table).unwrap();
    assert_eq!(fetch(folder, &[]).status.code(), Some(1));
    assert!(standing(folder).is_empty());
    assert_eq!(fetch(folder, &[]).status.code(), Some(0));
    assert_eq!(fs::read(folder.join("data/set/a.bin")).unwrap(), b"1");
    assert_eq!(fs::read(folder.join("data/set/b.bin")).unwrap(), b"2");
    // What had arrived was not asked for again.
    assert_eq!(server.requests(), ["GET /one.tar.gz", "GET /two.tar.gz", "GET /two.tar.gz"]);

    fs::create_dir_all(folder.join("data/pretrained")).unwrap();
    fs::write(folder.join("data/pretrained/mine.pt"), "mine").unwrap();
    let output = data(folder, &["fetch", "weights"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(fs::read(folder.join("data/pretrained").join(&name)).unwrap(), weights);
    let output = data(folder, &["verify", "weights", "small"]).output().unwrap();
    assert!(text(&output.stdout).contains("by checksum"), "{}", text(&output.stdout));
    let output = data(folder, &["fetch", "wieghts"]).output().unwrap();
    assert!(
        output.status.code() == Some(2) && text(&output.stderr).contains("did you mean"),
        "{}",
        text(&output.stderr)
    );
}

/// `make reproduce FETCH=1` asks for the data first, and does not compute without it.
#[cfg(unix)]
#[test]
fn reproduce_fetches_first() {
    let server = Server::new(|_, stream| status(stream, "404 Not Found", ""));
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/reproduce.sh");
    let run = |data: &Path| {
        let mut command = std::process::Command::new("sh");
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command.arg(&script).arg("quick").env("ECQX_BINARY", assert_cmd::cargo::cargo_bin("ecqx"));
        command.env("ECQX_FETCH", "1").env("ECQX_MIRROR", server.url("")).env("ECQX_DATA", data);
        command.current_dir(folder.path()).output().unwrap()
    };
    let output = run(&folder.path().join("data"));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(server.requests(), ["GET /cifar-10-binary.tar.gz"]);
    assert!(!folder.path().join("store").exists());
    let output = run(Path::new(""));
    assert!(
        output.status.code() == Some(2) && text(&output.stderr).contains("DATA=DIR"),
        "{}",
        text(&output.stderr)
    );
}
