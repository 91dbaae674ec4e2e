//! `lapidary logits`: every position's logits and inner tensors in a file, for comparing engines.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lapidary::chat::check_ids;
use lapidary::error::Usage;
use lapidary::gemma4::Config;
use lapidary::model::{Activation, Gemma4, Row, Traced, Want};
use lapidary::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::args::{Ids, Precision};
use super::input::Limit;
use super::output::Output;
use super::run::RunArguments;
use super::terminal::{note, plural};

/// The one tensor whose rows have parts: what each layer of E2B and E4B adds of the token itself.
const PER_LAYER_INPUTS: &str = "per_layer_inputs";

/// Write all logits, and on demand all inner tensors, to a file
///
/// The tool for comparing engines: it computes exactly unless --precision fast is given. `logits` is f32 [tokens, vocab]. With --activations also `embed`, `final_norm` and for
/// each layer `layer.N.attn`, `.mlp`, `.experts`, `.router.weights` ([tokens, top_k] by descending probability, after the
/// per-expert scale) and `.out`; of a model with per-layer inputs, such as E2B, also `per_layer_inputs` ([tokens, layers, n]
/// with n = `hidden_size_per_layer_input`).
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("input").required(true), after_help = "\
Example:
  lapidary logits --model DIR --ids 2,105,9 --activations --output lapidary.safetensors")]
pub(super) struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    /// Token ids, raw: no template and nothing added
    #[arg(long, value_name = "LIST", group = "input", allow_hyphen_values = true)]
    ids: Option<Ids>,
    /// A file with token ids: a JSON list, or numbers between commas or white space
    #[arg(long, value_name = "FILE", group = "input")]
    ids_file: Option<PathBuf>,
    /// The file to write; it appears when it is complete
    #[arg(long, short, value_name = "FILE.safetensors")]
    output: PathBuf,
    /// Write the inner tensors too
    #[arg(long)]
    activations: bool,
}

/// Runs the command.
pub(super) fn run(mut arguments: Arguments) -> anyhow::Result<u8> {
    // Engines are compared by what they compute, not by what they round.
    arguments.run.kernels.precision.get_or_insert(Precision::Exact);
    let checkpoint = arguments.run.model.open()?;
    // Nothing is generated: the ids may fill the context.
    let context = arguments.run.context_bound(&checkpoint);
    let ids = arguments.ids(Limit::of(context))?;
    check_ids(&ids, &checkpoint)?;
    if ids.len() > context {
        return Err(Error::from(Usage::Ids { found: ids.len(), context }).into());
    }
    let output = Output::new(&arguments.output)?;
    let mut model = arguments.run.load(&checkpoint)?;
    let tensors = run_all(&mut model, &ids, arguments.activations)?;
    output.write(&serialize(&tensors, &checkpoint.config)?)?;
    let (tokens, count) = (plural(ids.len(), "token"), plural(tensors.len(), "tensor"));
    note(format_args!("{}: {count} for {tokens}", arguments.output.display()));
    Ok(0)
}

impl Arguments {
    fn ids(&self, limit: Limit) -> Result<Vec<u32>> {
        if let Some(Ids(ids)) = &self.ids {
            return Ok(ids.clone());
        }
        let path = self.ids_file.as_deref().expect("one of the two is required");
        let fault = |error: Error| Error::usage(format!("{}: {error}", path.display()));
        let Ids(ids) = limit.ids_file(path)?.parse().map_err(fault)?;
        Ok(ids)
    }
}

/// Runs `ids` from an empty slot in chunks; the tensors of all positions by name.
fn run_all(model: &mut Gemma4, ids: &[u32], inner: bool) -> Result<BTreeMap<String, Activation>> {
    let vocab = model.config().vocab_size;
    let mut all: BTreeMap<String, Activation> = BTreeMap::new();
    for (number, chunk) in ids.chunks(model.chunk_rows()).enumerate() {
        let first = model.len(0);
        let rows: Vec<Row> =
            chunk.iter().enumerate().map(|(i, &token)| Row { slot: 0, position: first + i, token }).collect();
        let positions: Vec<usize> = (0..rows.len()).collect();
        let Traced { output, activations: mut tensors } = match inner {
            true => model.step_with_activations(&rows, Want::Logits(&positions))?,
            false => Traced { output: model.step(&rows, Want::Logits(&positions))?, activations: BTreeMap::new() },
        };
        if output.logits.iter().any(|logit| !logit.is_finite()) {
            let end = number * model.chunk_rows() + chunk.len();
            return Err(model.explain(0, &ids[..end], chunk.len()));
        }
        tensors.insert("logits".to_owned(), Activation { width: vocab, values: output.logits });
        for (name, part) in tensors {
            let whole = all.entry(name).or_insert_with(|| Activation { width: part.width, values: Vec::new() });
            whole.values.extend(part.values);
        }
    }
    Ok(all)
}

/// The tensors as a safetensors file. As in the model, the inputs of all layers are a row of each token: [tokens, layers, n].
fn serialize(tensors: &BTreeMap<String, Activation>, config: &Config) -> Result<Vec<u8>> {
    let views = tensors.iter().map(|(name, tensor)| {
        let mut shape = vec![tensor.values.len() / tensor.width, tensor.width];
        if name == PER_LAYER_INPUTS {
            shape.splice(1.., [config.num_hidden_layers, config.hidden_size_per_layer_input]);
        }
        let view = TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(&tensor.values));
        (name, view.expect("whole rows of f32"))
    });
    safetensors::serialize(views, None).map_err(|e| Error::run(format!("the tensors make no safetensors file: {e}")))
}
