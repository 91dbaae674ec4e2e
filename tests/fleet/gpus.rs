//! The GPUs of the fleet.

/// A GPU that is not there: its driver's compiler is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its name in files and tables.
    pub(crate) name: &'static str,
    /// A card that has it.
    pub(crate) card: &'static str,
    family: Family,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Gcn,
    Rdna,
    Intel,
    Adreno,
    Apple,
}

/// What a kernel should be on a GPU, at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Musts {
    pub(crate) waves: u64,
    pub(crate) width: u64,
}

const fn member(name: &'static str, card: &'static str, family: Family) -> Member {
    Member { name, card, family }
}

/// All of them, in the order of tables.
pub(crate) const FLEET: [Member; 19] = [
    member("gfx803", "Radeon RX 580", Family::Gcn),
    member("gfx906", "Radeon VII, MI50", Family::Gcn),
    member("gfx90a", "MI200", Family::Gcn),
    member("gfx1030", "Radeon RX 6800", Family::Rdna),
    member("gfx1100", "Radeon RX 7900", Family::Rdna),
    member("gfx1151", "Strix Halo", Family::Rdna),
    member("gfx1201", "Radeon RX 9070", Family::Rdna),
    member("gfx1030-newest", "Radeon RX 6800", Family::Rdna),
    member("gfx1100-newest", "Radeon RX 7900", Family::Rdna),
    member("gfx1150-newest", "Strix Point", Family::Rdna),
    member("skl", "Skylake GT2", Family::Intel),
    member("tgl", "Tiger Lake", Family::Intel),
    member("dg2", "Arc A770M", Family::Intel),
    member("bmg", "Arc B580", Family::Intel),
    member("a630", "Adreno 630", Family::Adreno),
    member("a740", "Adreno 740", Family::Adreno),
    member("a750", "Adreno 750", Family::Adreno),
    member("m1", "Apple M1", Family::Apple),
    member("m2", "Apple M2", Family::Apple),
];

impl Member {
    /// The one of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        FLEET.into_iter().find(|member| member.name == name)
    }

    /// Spills that a kernel may have, with the GPU's own table or without: prefill is a little less strict without.
    pub(crate) fn allowed_spills(own_table: bool, decodes: bool) -> u64 {
        if own_table || decodes { 0 } else { 16 }
    }

    /// What its kernels should be, of decode steps or of prefill.
    pub(crate) fn musts(self, decodes: bool) -> Musts {
        let (waves, width) = match (self.family, decodes) {
            (Family::Gcn, _) => (2, 0),
            (Family::Rdna | Family::Adreno, true) => (8, 0),
            (Family::Intel, true) => (0, 16),
            _ => (0, 0),
        };
        Musts { waves, width }
    }
}
