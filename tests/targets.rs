//! What keeps the library compiling for targets without threads and without a clock, read from its lines; `tests/targets.sh` asks
//! the compiler. And what the workflow files run is there, and what the page of targets says of each.

use std::fs;
use std::path::{Path, PathBuf};

/// A word that only these files of `src` may have, and what to use instead.
struct Rule {
    word: &'static str,
    allowed: &'static [&'static str],
    instead: &'static str,
}

/// Times of files are the system's own: wasm has no files.
const FILE_TIMES: &[&str] = &["kept.rs", "checkpoint/files/blob.rs", "doctor/begun.rs"];
const BLOCKING: &[&str] = &["gpu/blocking.rs"];
const THREADS: &[&str] = &["threads.rs"];

/// These ask what a panic is, and start nothing.
const ABOUT_PANICS: &[&str] = &["threads.rs", "contained.rs", "doctor/begun.rs"];

const RULES: [Rule; 17] = [
    Rule { word: "time::Instant", allowed: &[], instead: "web_time" },
    Rule { word: "time::SystemTime", allowed: FILE_TIMES, instead: "web_time" },
    Rule { word: "std::thread", allowed: ABOUT_PANICS, instead: "threads.rs" },
    Rule { word: ".join()", allowed: THREADS, instead: "threads.rs" },
    Rule { word: "Barrier", allowed: &[], instead: "threads.rs" },
    Rule { word: "std::time::UNIX_EPOCH", allowed: &[], instead: "web_time" },
    Rule { word: "std::time::*", allowed: &[], instead: "web_time" },
    Rule { word: "pollster", allowed: BLOCKING, instead: "gpu/blocking.rs" },
    Rule { word: ".recv()", allowed: BLOCKING, instead: "gpu/blocking.rs" },
    Rule { word: ".recv_timeout(", allowed: THREADS, instead: "threads.rs" },
    Rule {
        word: "device.poll(",
        allowed: &["gpu/blocking.rs", "gpu/testing/fault_injector.rs"],
        instead: "gpu/blocking.rs",
    },
    Rule { word: "Condvar", allowed: &[], instead: "threads.rs" },
    Rule { word: "thread::scope", allowed: THREADS, instead: "threads.rs" },
    Rule { word: "thread::spawn", allowed: &[], instead: "threads.rs" },
    Rule { word: "thread::Builder", allowed: THREADS, instead: "threads.rs" },
    Rule { word: "thread::sleep", allowed: THREADS, instead: "threads.rs" },
    Rule { word: "thread::park", allowed: &[], instead: "threads.rs" },
];

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// All files in `folder` and below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect::<Vec<_>>();
    found.sort();
    found
}

/// The lines that are compiled into the library, without comments, and their numbers; tests stand at the end of a file.
fn code(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<_> = text.lines().collect();
    let is_tests = |&i: &usize| {
        let attributes = lines[..i].iter().rev().take_while(|line| line.starts_with("#["));
        lines[i].starts_with("mod ")
            && lines[i].ends_with('{')
            && attributes.clone().any(|line| *line == "#[cfg(test)]")
    };
    let end = (0..lines.len()).find(is_tests).unwrap_or(lines.len());
    let code = lines[..end].iter().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.map(|(i, line)| (i + 1, *line)).collect()
}

/// Names of the files beside `text`'s own that are only there for tests: `#[cfg(test)]`, other attributes, `mod name;`.
fn test_files(text: &str) -> Vec<String> {
    let (mut found, mut is_test) = (Vec::new(), false);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'))
            && is_test
        {
            found.push(format!("{name}.rs"));
        }
        is_test = line == "#[cfg(test)]" || is_test && line.starts_with("#[");
    }
    found
}

/// `a::{B, c::{D, E}}` as `a::B`, `a::c::D` and `a::c::E`.
fn spelled_out(path: &str) -> Vec<String> {
    let Some((before, inside)) = path.split_once('{') else { return vec![path.trim().to_owned()] };
    let inside = inside.rsplit_once('}').map_or(inside, |(inside, _)| inside);
    let (mut depth, mut names) = (0, vec![String::new()]);
    for letter in inside.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        match names.last_mut() {
            Some(name) if letter != ',' || depth > 0 => name.push(letter),
            _ => names.push(String::new()),
        }
    }
    names.iter().flat_map(|name| spelled_out(name)).map(|name| format!("{}{name}", before.trim())).collect()
}

/// Statements of several lines in one, and each `use` behind it with all that it names.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (number, line) in code(text) {
        let begins =
            ["use ", "pub use ", "pub(crate) use ", "pub(super) use "].iter().any(|use_| line.trim().starts_with(use_));
        match all.last_mut() {
            // A call on a line of its own belongs to what it is made on.
            Some((_, last)) if is_open || line.trim_start().starts_with('.') => *last += line.trim(),
            _ => all.push((number, line.to_owned())),
        }
        is_open = (is_open || begins) && !line.contains(';');
    }
    for (_, statement) in &mut all {
        if let Some((_, path)) = statement.split_once("use ").filter(|(before, _)| !before.contains('"')) {
            *statement = format!("{statement} {}", spelled_out(path.trim_end_matches(';')).join(" "));
        }
    }
    all
}

/// Whether `line` has `word`, not as the end of another one.
fn has(line: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(at, _)| !word.starts_with(char::is_alphanumeric) || !line[..at].ends_with(is_part))
}

/// What breaks a rule in the file `name` of `src`.
fn broken(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in statements(text) {
        for Rule { word, allowed, instead } in RULES {
            if has(&line, word) && !allowed.contains(&name) {
                found.push(format!("src/{name}:{number}: {word}, use {instead}"));
            }
        }
    }
    found
}

#[test]
fn threads_waits_and_clocks_are_in_their_places() {
    let src = at("src");
    let (mut found, mut tests, mut sources) = (Vec::new(), Vec::new(), Vec::new());
    for path in files(&src) {
        let name = path.strip_prefix(&src).expect("inside").to_str().expect("a name").replace('\\', "/");
        if name.ends_with(".rs") && !name.starts_with("cli/") && name != "main.rs" {
            let text = fs::read_to_string(&path).expect("a file");
            tests.extend(test_files(&text));
            sources.push((name, text));
        }
    }
    assert!(sources.len() > 100, "files of src: {}", sources.len());
    for (name, text) in &sources {
        if !tests.iter().any(|test| name == test || name.ends_with(&format!("/{test}"))) {
            found.extend(broken(name, text));
        }
    }
    assert!(found.is_empty(), "not where wasm has something else instead:\n{}", found.join("\n"));
    for Rule { word, allowed, .. } in RULES {
        for name in allowed {
            let text = &sources.iter().find(|(other, _)| other == name).expect("a file that may").1;
            assert!(statements(text).iter().any(|(_, line)| has(line, word)), "{name} has no {word} any more");
        }
    }
}

/// Whoever writes one of these hears of it.
#[test]
fn what_breaks_a_rule_is_found() {
    let text = "use std::time::{Duration, Instant};\n// std::thread::spawn\nfn f() {\n    std::thread::sleep(TIME);\n}\n\n#[cfg(test)]\n\
                #[expect(clippy::unwrap_used)]\nmod tests {\n    use std::time::SystemTime;\n}\n";
    let expected = [
        "src/a.rs:1: time::Instant, use web_time",
        "src/a.rs:4: std::thread, use threads.rs",
        "src/a.rs:4: thread::sleep, use threads.rs",
    ];
    assert_eq!(broken("a.rs", text), expected);
    assert_eq!(broken("threads.rs", text), ["src/threads.rs:1: time::Instant, use web_time"]);
    assert!(broken("a.rs", "use web_time::Instant;\nuse std::time::Duration;\n").is_empty());
    for text in [
        "use std::time;\nlet now = time::Instant::now();",
        "use std::{\n    io,\n    time::{Duration, Instant as Clock},\n};",
        "use std::{thread as t, io};",
        "let done = handle.join();",
        "device\n    .poll(wgpu::PollType::Poll)",
        "static BOTH: Barrier = Barrier::new(2);",
    ] {
        assert!(!broken("a.rs", text).is_empty(), "{text}");
    }
    assert_eq!(
        test_files("mod a;\n#[cfg(test)]\n#[path = \"x\"]\nmod b;\nmod c;\n#[cfg(test)]\nmod d;"),
        ["b.rs", "d.rs"]
    );
}

/// Paths of this repository's scripts in a workflow file's lines.
fn scripts(text: &str) -> Vec<&str> {
    let words = text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
    words.filter(|word| word.ends_with(".sh") && !word.contains("://")).collect()
}

#[test]
fn workflows_run_what_is_there() {
    let mut found = Vec::new();
    for path in files(&at(".github/workflows")) {
        let text = fs::read_to_string(&path).expect("a file");
        found.extend(scripts(&text).into_iter().map(str::to_owned));
    }
    for expected in ["tests/run.sh", "tests/targets.sh", "tests/windows.sh", "tests/package.sh", "tests/program.sh"] {
        assert!(found.iter().any(|script| script == expected), "no workflow runs {expected}");
    }
    for script in found {
        assert!(at(&script).is_file(), "{script} is in a workflow and not there");
    }
    assert_eq!(scripts("- run: sh tests/a.sh b\n# sh c.sh\n- run: curl https://x/d.sh"), ["tests/a.sh"]);
}

/// The page says of each target what came of it.
#[test]
fn the_page_has_all_targets() {
    let script = fs::read_to_string(at("tests/targets.sh")).expect("a script");
    let page = fs::read_to_string(at("docs/targets.md")).expect("a page");
    let list = script.split("all=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a list of targets");
    assert!(list.split_whitespace().count() > 5, "targets: {list}");
    for target in list.split_whitespace() {
        assert!(page.contains(&format!("| {target} |")), "docs/targets.md has no row for {target}");
    }
}
