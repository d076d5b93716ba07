//! Writes the inputs that the corpus begins with. Run it after changing what a
//! script's bytes mean: `cargo run -p sluice-fuzz --bin corpus`.

use sluice_fuzz::corpus::{folder, seeds};
use sluice_fuzz::drive::write;

fn main() -> std::io::Result<()> {
    let seeds = seeds();
    for (target, name, bytes) in &seeds {
        write(&folder(target).join(name), bytes)?;
    }
    println!("{} inputs written", seeds.len());
    Ok(())
}
