//! What drivers' compilers say of a pipeline, in the same words for all of them.

use serde_json::Value;

/// A compiled kernel, of several the worst figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Registers that went to memory and came back: Intel's and Apple's spills and fills, Adreno's stores and loads of private
    /// memory, AMD's vector registers.
    pub(crate) spills: u64,
    /// Bytes of private memory of a lane or a subgroup, as the driver counts: also for arrays that are no registers, which spill
    /// nothing. Adreno's driver does not say.
    pub(crate) scratch: u64,
    /// Registers of a lane as the vendor counts them: AMD's VGPRs, Intel's live registers, Adreno's full registers, Apple's
    /// halves.
    pub(crate) registers: u64,
    /// Subgroups that a core holds at once with so many registers and so much workgroup memory. AMD: of a SIMD, where RDNA
    /// counts a subgroup of 64 as two, of 32. Adreno: of 16. Apple: of 32, by registers alone. Intel: it says nothing.
    pub(crate) waves: Option<u64>,
    /// Lanes of a subgroup.
    pub(crate) width: u64,
}

impl Figures {
    /// The figures in `executables`, as the layer writes them.
    ///
    /// # Panics
    /// If there are none: the driver is none of those that are known here.
    pub(crate) fn of(executables: &Value) -> Self {
        let all = executables.as_array().expect("the layer writes an array");
        all.iter().map(of_one).reduce(Figures::worst).expect("a pipeline has an executable")
    }

    /// The worse of each.
    pub(crate) fn worst(self, other: Self) -> Self {
        Figures {
            spills: self.spills.max(other.spills),
            scratch: self.scratch.max(other.scratch),
            registers: self.registers.max(other.registers),
            waves: match (self.waves, other.waves) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            width: self.width.min(other.width),
        }
    }
}

fn of_one(executable: &Value) -> Figures {
    let get = |name: &str| executable.get(name).and_then(Value::as_f64).map(|number| number as u64);
    let sum = |names: [&str; 2]| names.into_iter().map(get).sum::<Option<u64>>();
    let spills = get("Spilled VGPRs").or(sum(["Spills", "Fills"])).or(sum(["STP Count", "LDP Count"]));
    let registers = ["VGPRs", "Max live registers", "Registers used", "GPRs"].into_iter().find_map(get);
    let scratch = ["Scratch size", "Scratch Memory Size", "Scratch"].into_iter().find_map(get).unwrap_or(0);
    let lanes = get("Subgroup size");
    let (Some(spills), Some(registers), Some(lanes)) = (spills, registers, lanes) else {
        panic!("figures of a driver that is not known: {executable}")
    };
    let waves = get("Subgroups per SIMD").or(get("Max Waves Per Core"));
    let threads = get("Threads").map(|threads| threads / lanes.max(1));
    Figures { spills, scratch, registers, waves: waves.or(threads), width: get("Max dispatch width").unwrap_or(lanes) }
}
