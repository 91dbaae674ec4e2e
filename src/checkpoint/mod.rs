//! Files to configuration and named tensors.
//!
//! [`Checkpoint::open`] reads `config.json` and the headers of all files, finds every tensor that the configuration asks
//! for and reports all faults at once; [`Checkpoint::contents`] reads the small tensors that a kernel trusts.
//! After that nothing is known to be wrong, and [`Checkpoint::load`] and its like read one matrix at a time, or some rows
//! of it, from any thread.

mod claimed;
mod configuration;
mod faults;
mod files;
mod formats;
mod generation;
mod load;
mod prefix;
mod resolve;
mod rows;
mod skipped;
mod twins;
mod verify;
mod write;

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;

use std::collections::{BTreeMap, HashSet};
use std::sync::OnceLock;

use crate::error::Usage;
use crate::gemma4::{Config, Role};
use crate::quant::Dtype;
use crate::{Error, Fault, Result};
use files::blob::Blob;
use files::index::Index;
use files::source::Whole;
use resolve::{Resolved, VectorInfo};

pub use crate::gemma4::tensors::Projection;
pub use claimed::QuantizationConfig;
pub use configuration::Configuration;
pub use files::source::Source;
pub use formats::matrix_info::MatrixInfo;
pub use generation::GenerationConfig;
pub use rows::RowReader;
pub use skipped::{Skipped, SkippedGroup};
pub use verify::Contents;
pub(crate) use write::write_model;
pub use write::{Written, write_random};

/// An opened checkpoint of a Gemma 4 text model.
#[derive(Debug)]
pub struct Checkpoint {
    /// `config.json`.
    pub config: Config,
    /// How quantized matrices are; `None` where nothing says so.
    pub quantization: Option<QuantizationConfig>,
    /// `generation_config.json`, or all defaults where there is none.
    pub generation: GenerationConfig,
    stop_ids: Vec<u32>,
    source: Source,
    /// The configurations as they were read.
    small: Vec<Blob>,
    index: Index,
    resolved: Resolved,
    /// Whether zero points are stored in the other way than the configuration says, once they were looked at.
    otherwise: OnceLock<bool>,
}

/// Tensors of one role in one format, for a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorGroup {
    /// What they are for.
    pub role: Role,
    /// `int4 g32 sym`, `bf16`, …
    pub format: String,
    /// Tensors in the files.
    pub tensors: usize,
    /// Weights.
    pub parameters: u64,
    /// Bytes in the files.
    pub size_bytes: u64,
}

/// What a model is, and the files that say so.
struct ConfigFiles {
    config: Configuration,
    blobs: Vec<Blob>,
}

/// How answers are to be made, and the file that says so, if there is one.
#[derive(Default)]
struct GenerationFile {
    config: GenerationConfig,
    blob: Option<Blob>,
}

impl Checkpoint {
    /// Opens a checkpoint: configuration, index and the headers of all files. No tensor data is read.
    ///
    /// # Errors
    /// [`Error::Model`] with all faults of the configuration, or else all faults of the files; [`Error::Io`] for what
    /// the system refuses.
    pub fn open(source: Source) -> Result<Self> {
        Self::open_with(source, |_| ())
    }

    /// As [`Self::open`], of a model that `change` makes of the configuration: with other tensors.
    pub(crate) fn open_with(source: Source, change: impl FnOnce(&mut Config)) -> Result<Self> {
        source.check()?;
        let source = source.located()?;
        let ConfigFiles { config: Configuration { model: mut config, quantization }, blobs: mut small } =
            Self::read_config_files(&source)?;
        change(&mut config);
        let GenerationFile { config: generation, blob: other } = Self::read_generation(&source)?;
        let mut index = Index::open(&source)?;
        prefix::unwrap_names(&mut index)?;
        let resolved = resolve::resolve(&index, &config, quantization.as_ref())?;
        for group in resolved.skipped.unknown() {
            let (count, first) = (group.tensors, group.names.first().map_or("", String::as_str));
            log::warn!("{}: {count} unknown tensors are not used, first {first:?}", source.describe());
        }
        if source.names().iter().any(|name| name == "adapter_config.json") {
            log::warn!("{}: the adapter beside the model is not used", source.describe());
        }
        for note in &resolved.notes {
            log::warn!("{}: {note}", source.describe());
        }
        small.extend(other);
        let mut stop_ids = generation.eos_token_id.clone();
        stop_ids.extend(config.eos_token_id.iter().filter(|id| !generation.eos_token_id.contains(id)));
        let otherwise = OnceLock::new();
        let checkpoint =
            Checkpoint { config, quantization, generation, stop_ids, source, small, index, resolved, otherwise };
        checkpoint.check_unchanged()?;
        Ok(checkpoint)
    }

    /// The configuration alone: all that can be said of a directory without weights ([`Source::is_config_only`]).
    ///
    /// # Errors
    /// [`Error::Model`] with all its faults; [`Error::Io`] for what the system refuses.
    pub fn read_config(source: &Source) -> Result<Config> {
        source.check()?;
        Self::read_config_files(source).map(|files| files.config.model)
    }

    /// `config.json`, and the files that say how a checkpoint is quantized where it does not.
    fn read_config_files(source: &Source) -> Result<ConfigFiles> {
        let Some(Whole { bytes, blob }) = source.read_whole("config.json")? else {
            return Err(files::missing::no_config(source));
        };
        files::foreign::check("config.json", &bytes)?;
        let (mut beside, mut blobs) = (Vec::new(), vec![blob]);
        for name in claimed::FILES {
            let Some(Whole { bytes, blob }) = source.read_whole(name)? else { continue };
            files::foreign::check(name, &bytes)?;
            beside.push(claimed::Beside { name, bytes: bytes.into_owned() });
            blobs.push(blob);
        }
        let config = Configuration::parse_beside(&bytes, &beside)?;
        for note in config.quantization.iter().flat_map(|quantization| quantization.notes()) {
            log::warn!("{}: {note}", source.describe());
        }
        Ok(ConfigFiles { config, blobs })
    }

    /// `generation_config.json`; of one that cannot be read, the fault is said by who needs it.
    fn read_generation(source: &Source) -> Result<GenerationFile> {
        const NAME: &str = "generation_config.json";
        let Some(Whole { bytes, blob }) = source.read_whole(NAME)? else { return Ok(GenerationFile::default()) };
        let config = match files::foreign::check(NAME, &bytes).and_then(|()| GenerationConfig::parse(&bytes)) {
            Ok(config) => config,
            Err(Error::Model(faults)) => GenerationConfig::unreadable(faults),
            Err(other) => return Err(other),
        };
        Ok(GenerationFile { config, blob: Some(blob) })
    }

    /// Fails if what says when a text ends, and which tokens are never drawn, cannot be read: to be asked by whoever uses
    /// [`Self::stop_ids`] and `suppress_tokens`.
    ///
    /// # Errors
    /// [`Error::Model`] with key, found and expected.
    pub fn check_stops(&self) -> Result<()> {
        self.generation.check(&["eos_token_id", "suppress_tokens"])?;
        let (vocab, suppressed) = (self.config.vocab_size, &self.generation.suppress_tokens);
        let suppressed: HashSet<u32> = suppressed.iter().copied().filter(|&id| (id as usize) < vocab).collect();
        if suppressed.len() == vocab {
            let fault = Fault::key("generation_config.json", "suppress_tokens");
            let fault = fault.found(format!("lists all {vocab} tokens")).expected("some that an answer may have");
            return Err(fault.into());
        }
        if self.generation.eos_token_id.is_empty() { self.config.check_eos() } else { Ok(()) }
    }

    /// Fails if a file was written to or replaced since the checkpoint was opened: to be called when everything is loaded.
    ///
    /// # Errors
    /// [`Error::Model`] naming the file.
    pub fn check_unchanged(&self) -> Result<()> {
        self.small.iter().try_for_each(Blob::check_unchanged)?;
        self.index.check_unchanged()
    }

    /// Where the files come from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Tokens that end a text: those of `generation_config.json` and of `config.json`, since either may list too few.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// Whether there is a matrix or vector `name`, as [`Self::load`] and [`Self::vector`] know it.
    pub fn has(&self, name: &str) -> bool {
        self.resolved.matrices.contains_key(name) || self.resolved.vectors.contains_key(name)
    }

    /// The matrix `name`, without `.weight` and relative to the text model: `layers.3.self_attn.q_proj`.
    ///
    /// # Errors
    /// [`Error::Usage`] if the configuration asks for no such matrix.
    pub fn matrix_info(&self, name: &str) -> Result<&MatrixInfo> {
        self.resolved.matrices.get(name).ok_or_else(|| Error::no_tensor("matrix", name))
    }

    /// One matrix of an expert.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no such layer or expert.
    pub fn expert_info(&self, layer: usize, expert: usize, projection: Projection) -> Result<&MatrixInfo> {
        let (layers, experts) = (self.config.num_hidden_layers, self.config.num_experts);
        if layer >= layers || expert >= experts {
            return Err(Usage::Expert { layer, expert, layers, experts }.into());
        }
        Ok(self.expert_matrix(layer, expert, projection.number(&self.config.tensors)))
    }

    /// As [`Self::matrix_info`] for a matrix that the configuration asks for, as every opened checkpoint has it.
    pub(crate) fn known_matrix(&self, name: &str) -> &MatrixInfo {
        &self.resolved.matrices[name]
    }

    /// As [`Self::expert_info`] for an expert that the configuration asks for, by the number of a projection in the table of
    /// tensors.
    pub(crate) fn expert_matrix(&self, layer: usize, expert: usize, projection: usize) -> &MatrixInfo {
        let projections = self.config.tensors.of_experts().count();
        &self.resolved.experts[(layer * self.config.num_experts + expert) * projections + projection]
    }

    /// The tensors that are left in the files.
    pub fn skipped(&self) -> &Skipped {
        &self.resolved.skipped
    }

    /// All tensors that are used, summed up by role and format.
    pub fn groups(&self) -> Vec<TensorGroup> {
        let mut groups: BTreeMap<(Role, String), TensorGroup> = BTreeMap::new();
        let mut add = |role: Role, format: String, tensors: usize, parameters: u64, size_bytes: u64| {
            let empty = TensorGroup { role, format: format.clone(), tensors: 0, parameters: 0, size_bytes: 0 };
            let group = groups.entry((role, format)).or_insert(empty);
            group.tensors += tensors;
            group.parameters += parameters;
            group.size_bytes += size_bytes;
        };
        for info in self.resolved.matrices.values().chain(&self.resolved.experts) {
            add(
                info.role,
                info.format.describe(info.in_features),
                info.numbers.tensors(),
                info.parameters(),
                info.size_bytes,
            );
        }
        for &VectorInfo { tensor: id, role } in self.resolved.vectors.values() {
            let tensor = &self.index.tensors[id];
            let label = tensor.float().map_or("", Dtype::label);
            add(role, label.to_owned(), 1, tensor.shape.iter().product::<usize>() as u64, tensor.size_bytes);
        }
        groups.into_values().collect()
    }
}
