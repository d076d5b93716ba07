//! Compiles the shim against libdpdk and writes the bindings to it. DPDK's own headers
//! are seen by the C compiler alone: most of its fast path is inline functions there.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

/// Releases whose ABI the shim is written for: Debian 12's and the next.
const DPDK_MIN: &str = "22.11";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=src/shim.c");
    println!("cargo:rerun-if-changed=src/shim.h");
    let dpdk =
        pkg_config::Config::new().atleast_version(DPDK_MIN).probe("libdpdk").map_err(|error| {
            format!("{error}\nlibdpdk is missing; install it with: apt-get install libdpdk-dev")
        })?;
    let mut shim = cc::Build::new();
    shim.file("src/shim.c").std("gnu11").opt_level(3).warnings(true).extra_warnings(true);
    shim.flag("-Werror").define("_GNU_SOURCE", None);
    // The build's configuration, and the least CPU that it was made for: what the crate
    // pkg-config does not tell.
    for flag in other_flags()?.split_whitespace() {
        shim.flag(flag);
    }
    for folder in &dpdk.include_paths {
        shim.flag("-isystem").flag(folder.to_str().ok_or("a folder's name is not UTF-8")?);
    }
    shim.compile("sluice_dpdk");
    let bindings = bindgen::Builder::default()
        .header("src/shim.h")
        .allowlist_item("sluice_dpdk_.*")
        .allowlist_item("SLUICE_DPDK_.*")
        .prepend_enum_name(false)
        .derive_default(true)
        .layout_tests(false)
        .generate()?;
    bindings.write_to_file(PathBuf::from(env::var("OUT_DIR")?).join("bindings.rs"))?;
    Ok(())
}

fn other_flags() -> Result<String, Box<dyn Error>> {
    let pkg_config = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let output = Command::new(pkg_config).args(["--cflags-only-other", "libdpdk"]).output()?;
    Ok(String::from_utf8(output.stdout)?)
}
