//! The harness sees what it is there to see.

#[cfg(unix)]
use std::time::Duration;

use super::harness::{Call, IDS, INSPECT, Kind, demo};
#[cfg(unix)]
use super::harness::{Ended, Limits};

#[cfg(unix)]
fn shell(script: &str) -> Call {
    Call { program: Some("sh"), ..Call::new(["-c", script]) }
}

#[cfg(unix)]
fn faults(script: &str) -> Vec<String> {
    let limits = Limits { space: 512 << 20, time: Duration::from_secs(1) };
    shell(script).run(Some(&limits)).faults(&limits)
}

/// One fault each, with these words; other systems have no signals, and call the status otherwise.
#[cfg(unix)]
#[test]
fn bad_ends_are_seen() {
    for (script, word) in [
        ("echo 'error: x' >&2; exit 1", "exit status: 1"),
        ("echo 'error: x' >&2; exit 5", "exit status: 5"),
        ("echo half; echo 'error: x' >&2; exit 3", "standard output has 5 bytes"),
        ("exit 3", "without a line that begins with"),
        ("echo x >&2; exit 2", "without a line that begins with"),
        ("kill -ABRT $$", "signal: 6"),
        ("kill -SEGV $$", "signal: 11"),
        (r"printf 'error: \033[31mred\n' >&2; exit 3", "U+001B"),
        (r"printf 'error: a\rb\n' >&2; exit 3", "U+000D"),
        (r"printf 'error: a\302\233b\n' >&2; exit 3", "U+009B"),
        (r"printf 'error: a\342\200\256b\n' >&2; exit 3", "U+202E"),
        (r"printf 'error: a\377b\n' >&2; exit 3", "not UTF-8"),
        (r"printf 'a note \007\n' >&2", "U+0007"),
        ("echo \"thread 'main' panicked at src\" >&2; echo 'error: x' >&2; exit 3", "panicked at"),
        (
            "i=0; while [ $i -lt 900 ]; do echo 'error: twenty bytes' >&2; i=$((i + 1)); done; exit 3",
            "standard error has",
        ),
    ] {
        let found = faults(script);
        assert!(found.len() == 1 && found[0].contains(word), "{script}: {found:?}");
    }
    for script in ["exit 0", "echo fine", "echo 'error: x' >&2; exit 2", "printf 'error: two\\nlines é\\n' >&2; exit 3"]
    {
        assert_eq!(faults(script), [""; 0], "{script}");
    }
}

/// Memory and processor time are bounded and measured.
#[cfg(target_os = "linux")]
#[test]
fn what_a_child_takes_is_bounded_and_measured() {
    let run = |script: &str| {
        let limits = Limits { space: 512 << 20, time: Duration::from_secs(1) };
        let ended = shell(script).run(Some(&limits));
        let faults = ended.faults(&limits);
        (ended, faults)
    };
    // `tail` keeps its input; `dd` has one block of that size.
    let block = |mib: usize| format!("exec dd if=/dev/zero of=/dev/null bs={mib}M count=8 2>/dev/null");
    let (Ended { code, .. }, found) = run(&block(600));
    assert!(code != Some(0) && !found.is_empty(), "{found:?}");
    let (Ended { code, spent, .. }, found) = run(&block(200));
    assert_eq!((code, found.len()), (Some(0), 0), "{found:?}");
    assert!((200 << 20..300 << 20).contains(&spent.resident) && spent.space > spent.resident, "{spent:?}");

    let (ended, found) = run("i=0; while [ $i -lt 100000000 ]; do i=$((i + 1)); done");
    assert!(ended.code.is_none() && ended.spent.time >= Duration::from_secs(2), "{:?}", ended.spent);
    assert!(found.iter().any(|fault| fault.contains("of processor time")), "{found:?}");
    let (ended, found) = run("sleep 2");
    assert!(found.is_empty() && ended.spent.time < Duration::from_millis(500), "{found:?} {:?}", ended.spent);
}

/// Valid input of each kind goes through, within the bounds that are made of it.
#[test]
fn valid_input_passes() {
    assert!(IDS.accepts("hello", &Call::ids(&demo(), r#"[{"role":"user","content":"hi"}]"#)).starts_with("2,"));
    let kinds: [&Kind; 2] = [&INSPECT, &IDS];
    for kind in kinds {
        assert!(kind.limits().time >= *super::harness::TIME);
    }
}
