//! Made-up checkpoints on disk: random weights of a released model's shapes in the files that AutoRound writes, to
//! measure loading before the real ones are there.
//!
//! Nothing is held in memory but a block of each file. `config.json` comes last, and after an error nothing stays: what
//! was not finished never looks like a model.

mod tensors;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

use crate::error::Usage;
use crate::gemma4::{Config, Cut};
use crate::{Error, Result, threads};
use tensors::Tensor;

/// Input features of a quantization group.
const GROUP_SIZE: usize = 128;
/// Bytes of tensors in a file, if there is more than one.
const SHARD_BYTES: u64 = 4_000_000_000;
/// Words (u64) that are made and written at a time.
const BLOCK_WORDS: usize = 128 << 10;

/// What [`write_random`] has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Files with tensors.
    pub files: usize,
    /// Bytes of all tensors.
    pub size_bytes: u64,
}

/// Writes the released model `name`, cut to `cut`, with random weights into `directory`, which is made unless it is there.
/// `progress` is called with the bytes that are written and those that will be.
///
/// # Errors
/// [`Error::Usage`] as [`Config::preset`], and for a directory that is not empty; [`Error::Io`] for what the system
/// refuses.
pub fn write_random(directory: &Path, name: &str, cut: Cut, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Written> {
    write_model(directory, Config::preset_json(name, cut)?, &Config::preset(name, cut)?, progress)
}

/// As [`write_random`], a model of `config`, whose `config.json` is `json`.
pub(crate) fn write_model(
    directory: &Path,
    mut json: Map<String, Value>,
    config: &Config,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Written> {
    json.insert("quantization_config".into(), quantization());
    make_empty(directory)?;
    let shards = into_shards(tensors::all(config, GROUP_SIZE), SHARD_BYTES);
    let files = Files { directory, shards: &shards };
    let written = files.write(&Value::Object(json), progress);
    if written.is_err() {
        files.remove();
    }
    written
}

/// `quantization_config` as AutoRound has it.
fn quantization() -> Value {
    json!({
        "quant_method": "auto-round",
        "packing_format": "auto_round:auto_gptq",
        "bits": 4,
        "group_size": GROUP_SIZE,
        "sym": true,
        "data_type": "int",
        "block_name_to_quantize": "model.language_model.layers",
    })
}

/// Makes sure that `directory` is there and empty.
fn make_empty(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).map_err(|error| Error::io(directory, error))?;
    let mut entries = fs::read_dir(directory).map_err(|error| Error::io(directory, error))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(Usage::NotEmpty { directory: directory.display().to_string() }.into()),
    }
}

/// Tensors one after the other in files of about `shard_bytes`.
fn into_shards(tensors: Vec<Tensor>, shard_bytes: u64) -> Vec<Vec<Tensor>> {
    let (mut shards, mut size_bytes): (Vec<Vec<Tensor>>, u64) = (vec![Vec::new()], 0);
    for tensor in tensors {
        let more = tensor.size_bytes();
        if size_bytes > 0 && size_bytes + more > shard_bytes {
            shards.push(Vec::new());
            size_bytes = 0;
        }
        size_bytes += more;
        shards.last_mut().expect("there is a first one").push(tensor);
    }
    // As the safetensors library orders them: what needs the most alignment first.
    shards.iter_mut().for_each(|shard| shard.sort_by_key(|tensor| tensor.dtype != "I32"));
    shards
}

fn size_bytes(shard: &[Tensor]) -> u64 {
    shard.iter().map(Tensor::size_bytes).sum()
}

/// The files of one checkpoint.
struct Files<'a> {
    directory: &'a Path,
    shards: &'a [Vec<Tensor>],
}

impl Files<'_> {
    fn write(&self, config: &Value, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Written> {
        let total: u64 = self.shards.iter().map(|shard| size_bytes(shard)).sum();
        let done = AtomicU64::new(0);
        let report = |bytes: u64| progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes, total);
        let numbers: Vec<usize> = (0..self.shards.len()).collect();
        threads::map_in_order(
            &numbers,
            threads::available(),
            || (),
            |(), &number| {
                let path = self.path(number);
                write_shard(&path, number, &self.shards[number], &report).map_err(|error| Error::io(path, error))
            },
        )?;
        self.write_json("model.safetensors.index.json", &self.index(total))?;
        self.write_json("config.json", config)?;
        Ok(Written { files: numbers.len(), size_bytes: total })
    }

    /// The file of shard `number`, which counts from 0.
    fn path(&self, number: usize) -> PathBuf {
        self.directory.join(self.file_name(number))
    }

    fn file_name(&self, number: usize) -> String {
        format!("model-{:05}-of-{:05}.safetensors", number + 1, self.shards.len())
    }

    fn index(&self, total_size: u64) -> Value {
        let named = |(number, shard): (usize, &Vec<Tensor>)| {
            let file = self.file_name(number);
            shard.iter().map(|tensor| (tensor.name.clone(), Value::from(file.clone()))).collect::<Vec<_>>()
        };
        let weight_map: Map<String, Value> = self.shards.iter().enumerate().flat_map(named).collect();
        json!({"metadata": {"total_size": total_size}, "weight_map": weight_map})
    }

    /// The whole file under another name first: it is there complete, or not at all.
    fn write_json(&self, name: &str, value: &Value) -> Result<()> {
        let (path, part) = (self.directory.join(name), self.directory.join(format!("{name}.part")));
        let written = fs::write(&part, format!("{value:#}\n")).and_then(|()| fs::rename(&part, &path));
        written.map_err(|error| {
            fs::remove_file(&part).ok();
            Error::io(path, error)
        })
    }

    /// Takes away what was written before an error; the directory was empty.
    fn remove(&self) {
        let shards = (0..self.shards.len()).map(|number| self.path(number));
        for path in shards.chain([self.directory.join("model.safetensors.index.json")]) {
            fs::remove_file(path).ok();
        }
    }
}

fn write_shard(path: &Path, number: usize, tensors: &[Tensor], report: &dyn Fn(u64)) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
    let header = header(tensors);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut block = vec![0u64; BLOCK_WORDS];
    let mut random = SplitMix(number as u64);
    for tensor in tensors {
        let mut left = tensor.size_bytes();
        while left > 0 {
            let bytes = left.min(8 * BLOCK_WORDS as u64) as usize;
            let words = &mut block[..bytes.div_ceil(8)];
            random.fill(words, tensor);
            file.write_all(&bytemuck::cast_slice(words)[..bytes])?;
            left -= bytes as u64;
            report(bytes as u64);
        }
    }
    file.flush()
}

/// The JSON before the data, padded so that the data is aligned.
fn header(tensors: &[Tensor]) -> String {
    let (mut map, mut begin) = (Map::new(), 0);
    map.insert("__metadata__".into(), json!({"format": "pt"}));
    for tensor in tensors {
        let end = begin + tensor.size_bytes();
        let entry = json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, end]});
        map.insert(tensor.name.clone(), entry);
        begin = end;
    }
    let mut text = Value::Object(map).to_string();
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    text
}

/// Random words: splitmix64 of Steele, Lea and Flood.
struct SplitMix(u64);

impl SplitMix {
    fn fill(&mut self, words: &mut [u64], tensor: &Tensor) {
        let twice = |word: u32| u64::from(word) << 32 | u64::from(word);
        let (keep, base) = (twice(tensor.words.keep), twice(tensor.words.base));
        if keep == 0 {
            words.fill(base.to_le());
            return;
        }
        for word in words {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *word = (((z ^ (z >> 31)) & keep) | base).to_le();
        }
    }
}
