//! What `doctor` prints: a line for each check, what follows from them, and a block for a bug report.

use std::path::Path;

use lapidary::doctor::{FailedCheck, Finding, Outcome, Race, Report, Round};
use lapidary::gpu::AdapterReport;
use serde_json::{Value, json};

use super::super::devices::{features, kind};
use super::super::terminal::{plural, table};

/// The report for people.
pub(super) fn text(report: &Report, kept: Option<&Path>) -> String {
    let adapter = &report.adapter;
    let mut text = format!("{} | {} | {}\n", adapter.info.name, adapter.api(), adapter.driver());
    for round in &report.rounds {
        if !round.without.is_empty() {
            text.push_str(&format!("\nwithout {}\n", round.without));
        }
        text.push_str(&table(&round.findings.iter().map(line).collect::<Vec<_>>(), 2, &[3, 4]));
    }
    text.push_str(&format!("\n{}\n", verdict(report)));
    if let Some(times) = &report.dot_times {
        text.push_str(&race("one row", times.few));
        text.push_str(&times.many.map_or(String::new(), |race_of| race("many rows", race_of)));
    }
    if let Some(path) = kept {
        text.push_str(&format!("kept in {}\n", path.display()));
    }
    text.push_str(&format!("\nfor a bug report:\n```\n{}```\n", block(report)));
    text
}

fn race(what: &str, race: Race) -> String {
    let (dot, plain) = (race.dot * 1e6, race.plain * 1e6);
    let faster = if race.dot < race.plain { "int8" } else { "f32" };
    format!("{what}: {dot:.1} µs in int8, {plain:.1} µs in f32: {faster} is used\n")
}

fn line(finding: &Finding) -> Vec<String> {
    let word = match finding.outcome {
        Outcome::Passed => "ok",
        Outcome::Unused => "unused",
        Outcome::Failed(_) => "FAILED",
    };
    let found = match &finding.outcome {
        Outcome::Failed(why) => why.clone(),
        _ if finding.measure.bound > 0.0 => {
            format!("off by {:.1e} of {:.1e}", finding.measure.error, finding.measure.bound)
        }
        _ => "exact".to_owned(),
    };
    let time = format!("{:.0} ms", 1e3 * finding.seconds);
    vec![word.to_owned(), finding.tier.to_string(), finding.name.clone(), time, String::new(), found]
}

/// What follows from the checks.
fn verdict(report: &Report) -> String {
    let Some(last) = report.rounds.last() else { return String::new() };
    let failed = last.failures().count();
    let passed = last.findings.iter().filter(|finding| finding.outcome == Outcome::Passed).count();
    let off = match report.switched_off.is_empty() {
        true => String::new(),
        false => format!("; it must do without {}", report.switched_off),
    };
    match failed {
        0 => format!("{} passed in {:.1} s, tier {}{off}", plural(passed, "check"), report.seconds, report.tiers),
        _ => {
            format!("{} FAILED, also with plain kernels: answers of this adapter may be wrong", plural(failed, "check"))
        }
    }
}

/// What someone who reads a bug report needs to know.
fn block(report: &Report) -> String {
    let adapter = &report.adapter;
    let info = &adapter.info;
    let mut lines = vec![
        format!("lapidary {} doctor, {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH),
        format!("adapter: {}, {}, {:04x}:{:04x}", info.name, kind(adapter), info.vendor, info.device),
        format!("driver: {}, {}{}", adapter.api(), adapter.driver(), compiler(adapter)),
        format!("features: {}", features(adapter)),
        format!("limits: {}", limits(adapter).map(|(name, value)| format!("{name} {value}")).join(", ")),
        format!("tier: {}", report.tiers),
        format!("tuning: {}: {}", report.tuning, report.tuning_reason),
    ];
    for round in &report.rounds {
        let what = if round.without.is_empty() { "all".to_owned() } else { format!("without {}", round.without) };
        let passed = round.findings.iter().filter(|finding| finding.outcome == Outcome::Passed).count();
        lines.push(format!("{what}: {passed} passed, {} failed", round.failures().count()));
        for FailedCheck { finding, why } in round.failures() {
            lines.push(format!("  {} ({}): {why}", finding.name, finding.tier));
        }
    }
    lines.join("\n") + "\n"
}

/// What compiles the shaders, where there is a choice.
fn compiler(adapter: &AdapterReport) -> String {
    adapter.compiler.as_ref().map_or(String::new(), |compiler| format!(", compiler {compiler}"))
}

fn limits(adapter: &AdapterReport) -> [(&'static str, u64); 7] {
    let l = &adapter.limits;
    [
        ("buffers", l.max_storage_buffers_per_shader_stage.into()),
        ("binding", l.max_storage_buffer_binding_size),
        ("buffer", l.max_buffer_size),
        ("threads", l.max_compute_invocations_per_workgroup.into()),
        ("workgroup", l.max_compute_workgroup_storage_size.into()),
        ("workgroups", l.max_compute_workgroups_per_dimension.into()),
        ("immediates", l.max_immediate_size.into()),
    ]
}

/// The report for programs.
pub(super) fn json(report: &Report) -> Value {
    let adapter = &report.adapter;
    let limits: serde_json::Map<String, Value> =
        limits(adapter).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "adapter": adapter.info.name,
        "api": adapter.api(),
        "driver": adapter.driver(),
        "compiler": adapter.compiler.as_ref().map(|compiler| compiler.to_string()),
        "kind": kind(adapter),
        "features": features(adapter),
        "limits": limits,
        "tier": report.tiers.many.name(),
        "decode_tier": report.tiers.few.name(),
        "tuning": report.tuning.name(),
        "tuning_reason": report.tuning_reason,
        "dot_times": report.dot_times,
        "passed": !report.is_bad(),
        "switched_off": report.switched_off.to_string(),
        "rounds": report.rounds.iter().map(round).collect::<Vec<_>>(),
        "seconds": report.seconds,
    })
}

fn round(round: &Round) -> Value {
    let check = |finding: &Finding| {
        let (outcome, message) = match &finding.outcome {
            Outcome::Passed => ("passed", None),
            Outcome::Unused => ("unused", None),
            Outcome::Failed(why) => ("failed", Some(why)),
        };
        let number = |value: f64| if value.is_finite() { json!(value) } else { Value::Null };
        json!({
            "name": finding.name,
            "tier": finding.tier.name(),
            "outcome": outcome,
            "message": message,
            "error": number(finding.measure.error),
            "bound": number(finding.measure.bound),
            "values": finding.measure.compared,
            "shaders": finding.shaders,
            "seconds": finding.seconds,
        })
    };
    json!({ "without": round.without.to_string(), "checks": round.findings.iter().map(check).collect::<Vec<_>>() })
}
