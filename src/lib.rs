//! lapidary: Gemma 4 on any GPU.
//!
//! A Rust host layer over wgpu (Vulkan, Metal, DX12) and WGSL compute shaders that multiply straight out of int4
//! checkpoints, also where a quantization group is cut by the end of the matrix. This page is the tour of the house.
//!
//! A conversation with all defaults, which are those of the program `lapidary chat`:
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use lapidary::chat::{Chat, Event};
//! use lapidary::checkpoint::Source;
//!
//! # fn main() -> lapidary::Result<()> {
//! let mut chat = Chat::open(Source::Directory("gemma-4-26B-A4B-it-int4".into()), None)?;
//! chat.say("What does Vec::push do?", &mut |event| {
//!     if let Event::Text(_, piece) = event {
//!         print!("{piece}");
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! The same from its parts, down to token ids:
//!
//! ```no_run
//! use lapidary::checkpoint::{Checkpoint, Source};
//! use lapidary::engine::{Generator, Request, Sampling};
//! use lapidary::model::{Gemma4, Options};
//!
//! # fn main() -> lapidary::Result<()> {
//! let checkpoint = Checkpoint::open(Source::Directory("gemma-4-26B-A4B-it-int4".into()))?;
//! let gpu = lapidary::doctor::open(None, &|line| eprintln!("{line}"))?;
//! let model = Gemma4::load(gpu, &checkpoint, &Options::default(), &|_| ())?;
//! let mut generator = Generator::new(model, checkpoint.stop_ids(), &checkpoint.generation.suppress_tokens);
//! let request = Request { sampling: Sampling::GREEDY, max_tokens: Some(64) };
//! let answer = generator.generate(0, &[2, 818, 5279, 529, 7001, 563], &request, &mut |_| std::ops::ControlFlow::Continue(()))?;
//! println!("{:?}", answer.ids);
//! # Ok(())
//! # }
//! ```
//!
//! # The floors
//!
//! An import points to a lower floor, to [`error`], or within its module; `tests/house.rs` checks it. [`decode`], [`paths`], `bytes`, `cache_folder`, `contained`, `strict`, `threads` and `kept` are below all.
//!
//! | floor | module | what |
//! |---|---|---|
//! | 1 | [`quant`] | CPU only: the one format of matrices and their one packed layout, group indices, dequantization; GPTQ, compressed-tensors, AWQ |
//! | 1 | [`parallel`] | ranks: shares, cuts and collectives; no GPU, no files |
//! | 2 | [`gpu`] | the only place that creates wgpu objects: adapters, buffers, pipelines, recorded passes |
//! | 2 | [`gemma4`] | configuration, presets, the table of the model's tensors; no files, no GPU |
//! | 3 | `kernels` | one `.rs` for each `shaders/*/*.wgsl`, in families: parameters, plan, binding |
//! | 3 | [`checkpoint`] | files to configuration and named tensors; every fault found before anything is uploaded |
//! | 4 | `reference` | the same mathematics on the CPU in plain loops: the oracle of every test |
//! | 4 | [`model`] | Gemma 4: weights, activations, KV cache, layers, the pass over rows |
//! | 5 | [`engine`] | sequences, sampling, stop rules; token ids only, never text |
//! | 5 | [`text`] | tokenizer, chat template, streamed decoding, thinking; text only, never tensors |
//! | 5 | `testing` | made-up matrices and steps, twins on buffers, derived bounds: what tests and doctor share; a door for tests that leads to all floors |
//! | 6 | [`doctor`] | checks of kernels and model on the user's adapter, against the reference |
//! | 7 | [`chat`] | conversations: opening, settings, prompts that fit, streamed answers; no flags, no terminal |
//! | 8 | `cli` | the binary: one file a subcommand; the feature `cli`, without which the library is alone |
//!
//! [`product`] is a door to floors 2 and 3.
//!
//! # What is public
//!
//! What a program needs that has a model inside: to open files and devices ([`checkpoint`], [`gpu`], [`doctor`]), to plan and
//! load a model ([`model`], [`gemma4`], [`parallel`]), to run it by ids ([`engine`]), by text ([`text`]) or as a conversation
//! ([`chat`]), to read and multiply its matrices ([`quant`], [`product`]), and to tell what failed ([`error`]). Kernels, passes,
//! the reference and the readers of file formats are private, so that they can change. Tests, measurements and fuzz targets reach
//! them through `testing`, which is hidden and no promise. A test counts what is public (`tests/surface.rs`). Types of
//! [`wgpu`] are in a few signatures, so the crate is re-exported.
//!
//! `quant`, `checkpoint`, `reference` and `text` never mention wgpu. `kernels` knows tensors and numbers, not layers or
//! names. `gpu` takes one constant from `quant`: the chunk that rows are padded to.
//!
//! # The data's way
//!
//! **Tensors.** `gemma4/tensors` has one table of the model's tensors: name, shape, what for, how ranks cut it, where it goes, which
//! layers have it. Whatever looks for tensors in files, writes them, takes memory for them, uploads them, makes them up, counts
//! what reading them costs or multiplies by them on the CPU iterates this table. Only the forward pass names them, since it is the
//! equations.
//!
//! **Load.** [`checkpoint::Checkpoint::open`] parses and validates every header and reports all faults at once;
//! `contents` reads what indexes or scales ([`model::Gemma4::load`] calls it before it touches the device). Then the
//! [`quant::Format`] of every matrix is known, and all memory is taken: activations, KV cache, weights, what the planned pass needs. Before that,
//! [`model::MemoryPlan`] rehearses the same on devices that only count, where a budget is to be kept. Then threads read blocks of matrices, repack them to the one layout, cut
//! them for the ranks and write them to their devices through staging buffers of their own, while pipelines compile. Host
//! memory holds a few blocks a thread, never a second copy of the model; of experts that are to stay there
//! ([`model::Options::host_experts`]), the only one.
//!
//! **Plan.** What was asked for ([`model::Options`]) is resolved once for the devices at hand, into a layout; only that travels on.
//! A layer says what it computes: products with what becomes of them, attention, norms. Which kernels that takes, and what
//! is fused, `kernels` decides by rows, tier and how weights lie on the device; products have one entrance (`kernels::product::plan`).
//! A shader's text is composed of snippets, each of which says at its head what it needs and gives, and its buffers are found by
//! their names in it.
//!
//! **Run.** Text becomes ids becomes a **step**: a list of rows `(slot, position, token)`. One row is a decode step, many
//! rows of a slot a prefill chunk, rows of several slots a batch. There is one forward pass, and it takes rows. It is a
//! flat list of dispatches over named, preallocated buffers in one compute pass, planned for one row, for two, for up to
//! 16 and for chunks. The next token is chosen on the device, the most probable one or a drawn one; on one rank, and where nothing is
//! looked up on the host, the next step takes it from there and is under way before the host knows it.
//!
//! **Shapes.** How many lanes a workgroup has and how much a lane holds depends on the kind of device ([`gpu::Kind`]): registers
//! that suffice on one card spill on another. `kernels::tuning` has a table for each kind; `docs/fleet.md` says what vendors'
//! compilers make of them.
//!
//! **Precision and tier.** [`model::Precision::Exact`] computes in f32 throughout. [`model::Precision::Fast`] lets the
//! kernels of a [`gpu::Tier`] round activations: to int8 for integer dot products, in blocks of 16 where rows are few
//! (`kernels::rounding::int8_by_16`) and of 32 in chunks, to f16 for cooperative matrices; keys and values to f16. Residual stream,
//! norms, router and sums stay f32; beyond the plain tier lanes add up within subgroups where the device has them. Weights that integers do not suit take the exact kernels.
//!
//! **When a device fails.** The first error of a device is what every later call on it gives; a loss is
//! [`Error::DeviceLost`]. With each result that goes to the host goes a number that was never used for it before, so that
//! what was not computed is no result. [`engine::Generator::recovering`] loads the model again after a loss, runs all ids
//! again and goes on with the answer.
//!
//! # What is still awkward
//!
//! * A slot owns a ring and a buffer that grows, and its rollback is bounded by the ring; to grow plans the pass again.
//! * A step runs in two ways: one waits for its choice, one runs ahead of it. Steps of more than 16 rows take other attention kernels
//!   than decode steps, and several sequences in one of them take turns.
//! * [`engine::Generator`] gives one answer at a time.
//! * Ranks run one after the other in one loop of one process, and wait for the host at each exchange.
//! * The per-layer embeddings of E2B and E4B are looked up on the host, which keeps their steps from running ahead.
//! * [`quant::Format`] says more than kernels can multiply: float addends and tables of values are refused by name.
//!
//! # Invariants
//!
//! * Rows of activations are padded to whole chunks of 32 values with zeros, so that products read them unguarded.
//! * Group indices are global: they count from row 0 of the full matrix, minus the first group that is stored. Only
//!   [`quant::RowShard`] carries such an offset; a whole matrix and a column shard have no field for it.
//! * All ranks stop at the same places, where partial results are added up or experts come from host memory; which kernels
//!   stand between depends on where a rank's cuts fall.
//! * The router is dense in memory, whatever the file holds; an incomplete triple is an error.
//! * Residual stream, norms, router, softmax and all sums are f32; the order of every sum is fixed.
//! * Sliding layers hold a ring of the window and 15 positions, and with marks a copy of it; full layers start small and
//!   double, or are whole where there is a budget.
//! * Every loop of a shader ends by itself, whatever the buffers hold: wgpu's counters, which would end it, are off
//!   (`gpu/compile.rs`). Indices are made of sizes that plans have checked; tokens, which requests name, are clamped.
//! * wasm has no threads, no waits and no clock of the system's: threads begin in `threads`, waits for a device are in
//!   `gpu/blocking.rs`, both with something else there, and clocks are those of the crate web-time.
//! * No kernel reads workgroup memory that it has not written, and none of the plain ones needs more than WebGPU's floor: 8
//!   storage buffers, 256 threads, 16 KiB, 128 MiB bindings. Larger weights come in parts.

mod bytes;
mod cache_folder;
pub mod chat;
pub mod checkpoint;
mod contained;
pub mod decode;
pub mod doctor;
pub mod engine;
pub mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod gemma4;
pub mod gpu;
mod kept;
mod kernels;
pub mod model;
#[cfg(test)]
#[path = "../tests/common/not_run.rs"]
mod not_run;
pub mod parallel;
pub mod paths;
pub mod product;
pub mod quant;
mod reference;
#[cfg(test)]
#[path = "../tests/common/seed.rs"]
mod seed;
mod strict;
#[doc(hidden)]
pub mod testing;
pub mod text;
mod threads;

pub use bytes::Bytes;
pub use cache_folder::cache_folder;
pub use contained::panics_are_contained;
pub use error::{Error, Fault, Faults, Result};
pub use wgpu;
