//! `--memory`, and the plan that `inspect` shows.

use crate::process::{bare_model, run};

/// The words of the line of the plan that begins with `key`.
fn line<'a>(out: &'a str, key: &str) -> Vec<&'a str> {
    let (_, plan) = out.split_once("\nGPU memory at ").unwrap();
    let found = plan.lines().find(|line| line.trim_start().starts_with(key));
    found.unwrap_or_else(|| panic!("{key} in {out}")).split_whitespace().collect()
}

/// On an adapter that is named, what is planned is what loading takes there.
#[test]
fn inspect_plans_for_an_adapter() {
    let exact = ["--context", "1500", "--precision", "exact", "--adapter", "vulkan"];
    let out = run(&[&["inspect"], &exact[..]].concat()).ok();
    assert!(out.contains("\nGPU memory at a context of 1500 on "), "{out}");
    // In f32 on one rank with all positions at once, as a cache of so few has them: at the start and when full.
    let kv = line(&out, "KV cache");
    assert_eq!(kv[2..4], kv[6..8], "{out}");
    let loaded = run(&[&["generate", "--ids", "2,5", "--max-tokens", "1"], &exact[..]].concat());
    let used = loaded.err.lines().find(|line| line.contains(" used, context 1500"));
    let used = used.unwrap_or_else(|| panic!("{}", loaded.err)).split(" | ").last().unwrap();
    let used: f64 = used.split_whitespace().next().unwrap().parse().unwrap();
    let of = |key: &str| -> f64 { line(&out, key)[key.split_whitespace().count()].parse().unwrap() };
    let planned: f64 = ["embedding", "layers", "experts", "KV cache", "activations"].map(of).iter().sum();
    // Five numbers with one decimal each, all in MiB, against one more.
    assert!((planned - used).abs() <= 6.0 * 0.05, "planned {planned}, used {used}: {out}");

    let other = run(&["inspect", "--adapter", "no such card"]);
    assert_eq!((other.code, other.out.as_str()), (Some(4), ""), "{}", other.err);
    let card = run(&["inspect"]).ok();
    assert!(card.ends_with("; --adapter NAME plans for one that is there\n"), "{card}");
}

/// Every command that loads a model keeps to the budget, and says in one line what would fit; `inspect` shows the plan too.
#[test]
fn what_exceeds_a_budget_ends_with_4() {
    let (model, output) = (bare_model(), std::env::temp_dir().join("lapidary-never-written"));
    let commands: [&[&str]; 5] = [
        &["generate", "--ids", "2,5"],
        &["chat"],
        &["logits", "--model", &model, "--ids", "2", "--output", output.to_str().unwrap()],
        &["bench"],
        &["inspect"],
    ];
    for command in commands {
        let found = run(&[command, &["--memory", "1.5MiB"]].concat());
        assert_eq!(found.code, Some(4), "{command:?}: {}", found.err);
        assert_eq!(found.out.contains("KV cache"), command[0] == "inspect", "{command:?}: {}", found.out);
        assert!(found.err.starts_with("error: a budget of 1.5 MiB, but the plan for "), "{command:?}: {}", found.err);
        assert!(found.err.lines().count() == 1 && found.err.contains("; nothing fits: the least, "), "{}", found.err);
    }
    assert!(!output.exists());
    let synthetic = ["bench", "--synthetic", "e2b", "--layers", "1", "--vocab", "256", "-p", "0", "-n", "1"];
    let found = run(&[&synthetic[..], &["--memory", "3M"]].concat());
    assert!(found.code == Some(4) && found.err.starts_with("error: a budget of 3.0 MiB, but "), "{}", found.err);
}

/// The answer is the same; where experts are is said at the start, and by `inspect`.
#[test]
fn experts_in_host_memory() {
    let generate = |more: &[&str]| {
        let prompt = ["generate", "--prompt", "What does Vec::push do?", "--temperature", "0", "--max-tokens", "12"];
        run(&[&prompt, more].concat())
    };
    let plain = generate(&[]);
    assert!(!plain.err.contains("host memory"), "{}", plain.err);
    let hosted = generate(&["--host-experts", "3"]);
    let line = hosted.err.lines().find(|line| line.contains("host memory")).map(str::to_owned);
    let line = line.unwrap_or_else(|| panic!("{}", hosted.err));
    assert!(
        line.starts_with("experts of the first 3 layers stay in host memory, ") && line.ends_with(", and are streamed")
    );
    assert_eq!(hosted.ok(), plain.ok());
    let out = run(&["inspect", "--host-experts", "3"]).ok();
    assert!(out.contains("\n  experts of the first 3 layers in host memory: "), "{out}");
    let bench = ["bench", "--model", &bare_model(), "-p", "20", "-n", "2", "-r", "1", "--host-experts", "1"];
    let found = run(&bench);
    assert!(found.err.contains("experts of the first 1 layer stay in host memory, "), "{}", found.err);
    found.ok();
    for (command, why) in [
        (&["generate", "--ids", "2", "--host-experts", "9"][..], "expected at most 8"),
        (&["generate", "--ids", "2", "--host-experts", "0"], "at least 1"),
        (&["inspect", "--model", "tests/golden/dense-gptq-desc-act", "--host-experts", "1"], "has no experts"),
        (&["bench", "--synthetic", "26b-a4b", "--layers", "1", "--host-experts", "1"], "a model of files"),
    ] {
        let found = run(command);
        assert!(found.code == Some(2) && found.err.contains(why), "{command:?}: {}", found.err);
    }
}

#[test]
fn what_is_offered_fits() {
    let generate = |more: &[&str]| {
        run(&[&["generate", "--ids", "2,5", "--max-tokens", "3", "--precision", "exact", "--memory", "40M"], more]
            .concat())
    };
    let refused = generate(&[]);
    assert_eq!(refused.code, Some(4), "{}", refused.err);
    let offer = refused.err.split("what fits: ").nth(1).unwrap_or_else(|| panic!("{}", refused.err));
    for offer in offer.trim().split(", or ") {
        assert_eq!(generate(&offer.split(' ').collect::<Vec<_>>()).code, Some(0), "{offer}");
    }
    for (size, why) in [("8GB", "powers of 1000 or of 1024"), ("0", "no memory at all"), ("much", "found \"much\"")] {
        let found = run(&["inspect", "--memory", size]);
        assert!(found.code == Some(2) && found.err.contains(why), "{}", found.err);
    }
}
