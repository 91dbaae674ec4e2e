//! Compiles every pipeline that presets make for a GPU that is not there, and compares what its driver's compiler says with
//! what is recorded. tests/fleet.sh runs it.
//!   fleet compile GPU FILE              the GPU that the environment says: VK_DRIVER_FILES, the layer, FLEET_STATISTICS
//!   fleet spill GPU FILE                one kernel, changed so that it spills
//!   fleet report EXPECTED FILE…         prints tables; fails for what is worse than recorded
//!   fleet record EXPECTED FILE…         takes what is as what is expected
//!   fleet markdown DATE FILE…           prints the tables of docs/fleet.md

mod compile;
mod expected;
mod gpus;
mod keys;
mod results;
mod statistics;
mod tables;

use std::path::Path;
use std::process::ExitCode;

use expected::Expected;
use results::Results;

fn read(paths: &[&str]) -> Vec<Results> {
    let mut all: Vec<Results> = paths.iter().map(|path| Results::read(Path::new(path))).collect();
    let place = |results: &Results| gpus::FLEET.iter().position(|member| member.name == results.gpu);
    all.sort_by_key(|results| place(results).unwrap_or(usize::MAX));
    all
}

fn report(expected: &Expected, all: &[Results]) -> ExitCode {
    println!("{}", tables::devices(all));
    println!("With the GPU's own table: spills in bold where there are some, registers/waves/lanes.\n");
    println!("{}", tables::kernels(all, true));
    println!("With the table of unknown devices.\n\n{}", tables::kernels(all, false));
    let missed: Vec<String> = all.iter().flat_map(tables::missed).collect();
    println!("{} kernels miss what they must be", missed.len());
    missed.iter().for_each(|line| println!("  {line}"));
    let mut failed = false;
    for results in all {
        let findings = expected.compare(results);
        findings.gains.iter().for_each(|line| println!("to be recorded: {line}"));
        findings.faults.iter().for_each(|line| eprintln!("FAILED {line}"));
        failed |= !findings.faults.is_empty();
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["compile", gpu, file] => compile::all(gpu).write(Path::new(file)),
        ["spill", gpu, file] => compile::spilling(gpu).write(Path::new(file)),
        ["report", expected, files @ ..] => return report(&Expected::read(Path::new(expected)), &read(files)),
        ["record", expected, files @ ..] => {
            let mut recorded = Expected::read(Path::new(expected));
            read(files).iter().for_each(|results| recorded.record(results));
            recorded.write(Path::new(expected));
        }
        ["markdown", date, files @ ..] => println!("{}", tables::page(date, &read(files))),
        _ => {
            eprintln!("expected compile, spill, report, record or markdown; see the head of tests/fleet/program.rs");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
