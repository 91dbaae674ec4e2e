//! Tables of what was compiled, in Markdown: by kernel and GPU.
#![allow(dead_code, reason = "each binary uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::gpus::Member;
use super::results::{Kernel, Results, Summary};
use super::statistics::Figures;

/// How many GPUs stand side by side.
const COLUMNS: usize = 10;

/// Kernels that miss what they must be.
pub(crate) fn missed(results: &Results) -> Vec<String> {
    let Some(member) = Member::named(&results.gpu) else { return vec![format!("{} is not in the fleet", results.gpu)] };
    let mut missed = Vec::new();
    for table in results.tables() {
        for (kernel, summary) in results.kernels(&table) {
            let (decodes, figures) = (!kernel.prefills, summary.figures);
            let musts = member.musts(decodes);
            let mut short = Vec::new();
            if figures.spills > Member::allowed_spills(table != UNKNOWN, decodes) {
                short.push(format!("{} spills", figures.spills));
            }
            // A device without a table of its own is only asked not to spill.
            if table != UNKNOWN && figures.waves.is_some_and(|waves| waves < musts.waves) {
                short.push(format!("{} waves of {}", figures.waves.unwrap_or(0), musts.waves));
            }
            if table != UNKNOWN && figures.width < musts.width {
                short.push(format!("{} lanes of {}", figures.width, musts.width));
            }
            if !short.is_empty() {
                missed.push(format!("{}, table {table}: {kernel}: {}", results.gpu, short.join(", ")));
            }
        }
    }
    missed
}

/// The table of devices that no table is for.
pub(crate) const UNKNOWN: &str = "unknown";

/// One line a GPU: what it is, and the worst of its kernels.
pub(crate) fn devices(all: &[Results]) -> String {
    let mut text = String::from(
        "| GPU | card | Mesa | table | pipelines | rejected | spilling kernels, decode / prefill | fewest waves, decode / prefill | \
         fewest lanes, decode / prefill | seconds |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for results in all {
        let card = Member::named(&results.gpu).map_or("?", |member| member.card);
        for table in results.tables() {
            let kernels = results.kernels(&table);
            let of = |prefills: bool| kernels.iter().filter(move |(kernel, _)| kernel.prefills == prefills);
            let spilling = |prefills| of(prefills).filter(|(_, summary)| summary.figures.spills > 0).count();
            let worst = |prefills| of(prefills).map(|(_, summary)| summary.figures).reduce(Figures::worst);
            let waves =
                |prefills| worst(prefills).and_then(|figures| figures.waves).map_or("-".into(), |n| n.to_string());
            let width = |prefills| worst(prefills).map_or(0, |figures| figures.width);
            let made = || results.pipelines.iter().filter(|one| one.decodes.contains_key(&table));
            let rejected = made().filter(|one| one.fault.is_some()).count();
            let seconds = made().map(|one| one.ms).sum::<f64>() / 1e3;
            writeln!(
                text,
                "| {} | {card} | {} | {table} | {} | {rejected} | {} / {} | {} / {} | {} / {} | {seconds:.0} |",
                results.gpu,
                results.mesa(),
                made().count(),
                spilling(false),
                spilling(true),
                waves(false),
                waves(true),
                width(false),
                width(true),
            )
            .expect("text grows");
        }
    }
    text
}

/// By kernel and GPU, with `own` table or without: spills, registers, waves, lanes.
pub(crate) fn kernels(all: &[Results], own: bool) -> String {
    let of = |results: &Results| {
        let table = if own { results.table.clone() } else { UNKNOWN.to_owned() };
        results.kernels(&table)
    };
    let found: Vec<(&Results, BTreeMap<Kernel, Summary>)> = all.iter().map(|results| (results, of(results))).collect();
    let names: BTreeSet<&Kernel> = found.iter().flat_map(|(_, kernels)| kernels.keys()).collect();
    let mut text = String::new();
    for part in found.chunks(COLUMNS) {
        let gpus: Vec<&str> = part.iter().map(|(results, _)| results.gpu.as_str()).collect();
        writeln!(text, "| kernel | bytes | {} |", gpus.join(" | ")).expect("text grows");
        writeln!(text, "|---|---|{}", "---|".repeat(part.len())).expect("text grows");
        for name in &names {
            let bytes = part.iter().filter_map(|(_, kernels)| kernels.get(name)).map(|one| one.workgroup_bytes).max();
            let cells: Vec<String> =
                part.iter().map(|(_, kernels)| kernels.get(name).map_or("".into(), |one| cell(one.figures))).collect();
            writeln!(text, "| {name} | {} | {} |", bytes.unwrap_or(0), cells.join(" | ")).expect("text grows");
        }
        text.push('\n');
    }
    text
}

/// `spills registers/waves/lanes`, spills only where there are some.
fn cell(figures: Figures) -> String {
    let spills = match (figures.spills, figures.scratch) {
        (0, 0) => String::new(),
        (0, bytes) => format!("*{bytes} B* "),
        (spills, _) => format!("**{spills}** "),
    };
    let waves = figures.waves.map_or("-".to_owned(), |waves| waves.to_string());
    format!("{spills}{}/{waves}/{}", figures.registers, figures.width)
}

/// What docs/fleet.md shows.
pub(crate) fn page(date: &str, all: &[Results]) -> String {
    let missed: Vec<String> = all.iter().flat_map(missed).collect();
    let list: String = missed.iter().map(|line| format!("- {line}\n")).collect();
    format!(
        "As of {date}. Cells are registers/waves/lanes of the worst pipeline of a kernel, behind its spills in bold, or the bytes \
         of private memory of one that spills nothing.\n\n{}\nKernels that miss what they must be: {}.\n\n{list}\n## With the \
         GPU's own table\n\n{}## With the table of unknown devices\n\n{}",
        devices(all),
        missed.len(),
        kernels(all, true),
        kernels(all, false),
    )
}
