//! `lapidary inspect`: what a checkpoint holds, and what it takes of a GPU; without one, unless one is named.

use std::io::Write;
use std::sync::Arc;

use lapidary::checkpoint::Checkpoint;
use lapidary::error::harmless;
use lapidary::gemma4::{Config, LayerKind};
use lapidary::gpu::Gpu;
use lapidary::model::{DevicePlan, MemoryPlan};

use super::run::RunArguments;
use super::terminal::{count, plural, size, table};

/// Show a model's architecture, formats and GPU memory
///
/// Reads configuration and headers, and checks the scales, zero points and group tables of quantized matrices as loading does,
/// about a twentieth of the file; --headers-only leaves that out. The memory is what loading takes with the same arguments, on the adapter that is
/// named; without --adapter no GPU is opened, and it is what a usual card would give. A directory with config.json alone is
/// shown as far as that goes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lapidary inspect --model DIR --context 32768
  lapidary inspect --model DIR --adapter nvidia --memory 8G    whether it fits, and what would")]
pub(super) struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    /// Check no scales, zero points and group tables
    #[arg(long)]
    headers_only: bool,
}

/// Runs the command.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let source = arguments.run.model.source();
    let mut text = format!("{}\n", arguments.run.model.name());
    let mut fits = Ok(());
    if source.is_config_only() {
        let config = Checkpoint::read_config(&source)?;
        arguments.run.context.map_or(Ok(()), |asked| config.check_context(asked))?;
        text.push_str(&table(&architecture(&config), 2, &[]));
        text.push_str("\nno tensors in this directory: formats and GPU memory are not known\n");
    } else {
        let checkpoint = Checkpoint::open(source)?;
        if !arguments.headers_only {
            checkpoint.verify_contents()?;
        }
        text.push_str(&table(&architecture(&checkpoint.config), 2, &[]));
        text.push_str("\ntensors\n");
        text.push_str(&table(&tensors(&checkpoint), 2, &[2, 3, 4]));
        text.push_str(&skipped(&checkpoint));
        let (options, gpus) = (arguments.run.options()?, arguments.devices()?);
        let plan = MemoryPlan::new(&gpus, &checkpoint, &options)?;
        for device in &plan.devices {
            let on = if arguments.has_adapter() { format!(" on {}", device.name) } else { String::new() };
            text.push_str(&format!("\nGPU memory at a context of {}{on}\n", plan.context));
            text.push_str(&table(&memory(device, plan.chunk_rows), 2, &[1]));
        }
        if plan.host_experts > 0 {
            let (layers, bytes) = (plural(options.host_experts, "layer"), size(plan.host_experts));
            text.push_str(&format!("  experts of the first {layers} in host memory: {bytes}\n"));
        }
        if !arguments.has_adapter() {
            text.push_str(
                "  planned for a card with integer dot products; --adapter NAME plans for one that is there\n",
            );
        }
        // What does not fit is shown first.
        fits = MemoryPlan::check(&gpus, &checkpoint, &options);
    }
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    fits?;
    Ok(0)
}

impl Arguments {
    fn has_adapter(&self) -> bool {
        self.run.adapter.is_some() || self.run.ranks.names_adapters()
    }

    /// The adapters that were named, or a card that need not be there.
    fn devices(&self) -> lapidary::Result<Vec<Arc<Gpu>>> {
        if !self.has_adapter() {
            return Ok(vec![Arc::new(self.run.kernels.device.shaped(Gpu::imagined()?))]);
        }
        let gpus = self.run.ranks.devices(self.run.adapter.as_deref(), &self.run.kernels)?;
        Ok(gpus.into_iter().map(Arc::new).collect())
    }
}

fn row(key: &str, value: impl Into<String>) -> Vec<String> {
    vec![key.to_owned(), value.into()]
}

fn architecture(c: &Config) -> Vec<Vec<String>> {
    let of_kind = |kind: LayerKind| c.layers.iter().filter(move |layer| layer.kind == kind);
    let heads = |kind: LayerKind| {
        of_kind(kind).next().map(|layer| {
            let shared = if layer.k_eq_v { ", K = V" } else { "" };
            format!(
                "{} query and {} K/V heads of {}{shared}",
                c.num_attention_heads, layer.num_key_value_heads, layer.head_dim
            )
        })
    };
    let (sliding, full) = (of_kind(LayerKind::Sliding).count(), of_kind(LayerKind::Full).count());
    let p = c.parameter_counts();
    let parts = [
        ("experts", p.experts),
        ("embedding", p.embedding),
        ("per-layer embedding", p.per_layer_embedding),
        ("head", p.head),
        ("rest", p.text),
    ];
    let parts: Vec<_> = parts.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {}", count(*n))).collect();
    let mut rows = vec![
        row(
            "type",
            if c.is_moe() {
                format!("{}, mixture of experts", c.model_type)
            } else {
                format!("{}, dense", c.model_type)
            },
        ),
        row("parameters", format!("{} ({})", count(p.total()), parts.join(", "))),
        row("layers", format!("{}: {sliding} sliding (window {}), {full} full", c.num_hidden_layers, c.sliding_window)),
        row("hidden size", c.hidden_size.to_string()),
    ];
    rows.extend(heads(LayerKind::Sliding).map(|heads| row("sliding heads", heads)));
    rows.extend(heads(LayerKind::Full).map(|heads| row("full heads", heads)));
    rows.push(row("dense MLP", c.intermediate_size.to_string()));
    if c.is_moe() {
        let (all, used) = (c.num_experts, c.top_k_experts);
        rows.push(row("experts", format!("{all} of width {}, {used} for a token", c.moe_intermediate_size)));
    }
    if c.num_kv_shared_layers > 0 {
        rows.push(row("shared K/V", format!("the last {} layers", c.num_kv_shared_layers)));
    }
    let tied = if c.tie_word_embeddings { "the head is the embedding" } else { "own head" };
    rows.push(row("vocabulary", format!("{}, {tied}", c.vocab_size)));
    rows.push(row("context", c.max_position_embeddings.to_string()));
    rows
}

fn tensors(checkpoint: &Checkpoint) -> Vec<Vec<String>> {
    let heading = ["group", "format", "tensors", "parameters", "in the files"].map(str::to_owned).to_vec();
    let groups = checkpoint.groups().into_iter().map(|group| {
        vec![
            group.role.label().to_owned(),
            group.format,
            group.tensors.to_string(),
            count(group.parameters),
            size(group.size_bytes),
        ]
    });
    std::iter::once(heading).chain(groups).collect()
}

fn skipped(checkpoint: &Checkpoint) -> String {
    let groups = &checkpoint.skipped().groups;
    if groups.is_empty() {
        return "  every tensor of the files is used\n".to_owned();
    }
    let rows: Vec<_> = groups
        .iter()
        .map(|group| {
            let example = group.names.first().map_or(String::new(), |name| format!("such as {}", harmless(name, 200)));
            vec![group.reason.clone(), plural(group.tensors, "tensor"), size(group.size_bytes), example]
        })
        .collect();
    format!("\nnot used\n{}", table(&rows, 2, &[1, 2]))
}

fn memory(plan: &DevicePlan, chunk_rows: usize) -> Vec<Vec<String>> {
    let weights =
        [("embedding", plan.embedding), ("head", plan.head), ("layers", plan.layers), ("experts", plan.experts)];
    let weights = weights.into_iter().filter(|(_, bytes)| *bytes > 0).map(|(name, bytes)| (name, bytes, String::new()));
    let rest = [
        ("KV cache", plan.kv_cache, format!("when full; {} at the start", size(plan.kv_cache_at_start))),
        ("activations", plan.activations, format!("prefill in chunks of {chunk_rows}")),
        ("staging", plan.staging, "at most, while loading".to_owned()),
        ("total", plan.total(), String::new()),
    ];
    weights.chain(rest).map(|(name, bytes, remark)| vec![name.to_owned(), size(bytes), remark]).collect()
}
