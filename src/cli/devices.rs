//! `lapidary devices`: the adapters of this machine.

use std::io::Write;

use lapidary::Error;
use lapidary::error::Unfit;
use lapidary::gpu::{AdapterReport, Compiler, Kind, Mask, Recognized, Verdict, adapters, dx12_trouble, no_adapter};

use super::terminal::{note, size, table};

/// List the adapters of this machine, and which one is used and why
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only the adapters that this would choose among: a part of a name, driver or API
    #[arg(long, value_name = "SUBSTRING")]
    adapter: Option<String>,
}

/// Runs the command.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let all = adapters();
    if all.is_empty() {
        return Err(no_adapter().into());
    }
    let chosen: Vec<_> = all.iter().filter(|report| fits(report, arguments.adapter.as_deref())).collect();
    if let (true, Some(wanted)) = (chosen.is_empty(), &arguments.adapter) {
        let names = all.iter().map(|report| format!("\"{}\"", report.info.name)).collect();
        let no_match = Unfit::NoMatch { wanted: wanted.clone(), known: names, trouble: dx12_trouble(&all) };
        return Err(Error::from(no_match).into());
    }
    let mut out = std::io::stdout().lock();
    for (i, report) in chosen.into_iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}\n{}", report.info.name, table(&describe(report), 2, &[]).trim_end())?;
    }
    out.flush()?;
    if let Some(trouble) = dx12_trouble(&all) {
        note(trouble);
    }
    Ok(0)
}

fn fits(report: &AdapterReport, wanted: Option<&str>) -> bool {
    let Some(wanted) = wanted.map(str::to_lowercase) else { return true };
    [&report.info.name, &report.driver(), report.api()].iter().any(|field| field.to_lowercase().contains(&wanted))
}

fn describe(report: &AdapterReport) -> Vec<Vec<String>> {
    let verdict = match &report.verdict {
        Verdict::Default(why) => format!("the default: {why}"),
        Verdict::Available(why) => format!("can be asked for with --adapter; not the default: {why}"),
        Verdict::Unusable(why) => format!("cannot be used: {why}"),
    };
    let Recognized { kind: tuning, reason: why } = Kind::of_adapter(report, &Mask::default());
    let l = &report.limits;
    let limits = [
        format!("{} a binding", size(l.max_storage_buffer_binding_size)),
        format!("{} a buffer", size(l.max_buffer_size)),
        format!("{} storage buffers a stage", l.max_storage_buffers_per_shader_stage),
        format!("{} threads a workgroup", l.max_compute_invocations_per_workgroup),
        format!("{} workgroup memory", size(l.max_compute_workgroup_storage_size.into())),
        format!("{} workgroups a dimension", l.max_compute_workgroups_per_dimension),
    ];
    let row = |key: &str, value: String| vec![key.to_owned(), value];
    let mut rows = vec![
        row("verdict", verdict),
        row("type", kind(report).to_owned()),
        row("API", report.api().to_owned()),
        row("driver", report.driver()),
        row("limits", limits[..3].join(", ")),
        row("", limits[3..].join(", ")),
        row("features", features(report)),
        row("tuning", format!("{tuning}: {why}")),
    ];
    let lines = report.compiler.as_ref().map_or(Vec::new(), Compiler::describe);
    rows.extend(lines.into_iter().enumerate().map(|(i, line)| row(if i == 0 { "compiler" } else { "" }, line)));
    rows
}

/// What sort of device it is.
pub(super) fn kind(report: &AdapterReport) -> &'static str {
    match report.info.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete GPU",
        wgpu::DeviceType::IntegratedGpu => "integrated GPU",
        wgpu::DeviceType::VirtualGpu => "virtual GPU",
        wgpu::DeviceType::Cpu => "software, computes on the CPU",
        wgpu::DeviceType::Other => "unknown",
    }
}

/// What faster kernels can use, and what is not there.
pub(super) fn features(report: &AdapterReport) -> String {
    use wgpu::Features as F;
    let (least, most) = (report.info.subgroup_min_size, report.info.subgroup_max_size);
    let sizes = if least == most { format!("of {least}") } else { format!("of {least} to {most}") };
    let all = [
        (F::SHADER_F16, "f16"),
        (F::SUBGROUP, "subgroups"),
        (F::EXPERIMENTAL_COOPERATIVE_MATRIX, "cooperative matrices"),
        (F::TIMESTAMP_QUERY, "timestamps"),
        (F::PIPELINE_CACHE, "pipeline cache"),
    ];
    let (there, absent): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(feature, _)| report.features.contains(*feature));
    let names = |list: &[(F, &str)]| list.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    let there = names(&there).replace("subgroups", &format!("subgroups {sizes}"));
    match (there.is_empty(), absent.is_empty()) {
        (_, true) => there,
        (true, false) => format!("none of {}", names(&absent)),
        (false, false) => format!("{there}; not {}", names(&absent)),
    }
}
