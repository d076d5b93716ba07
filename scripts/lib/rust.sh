# shellcheck shell=bash
# Where Rust is, and which one this project wants.

# The channel of rust-toolchain.toml, such as 1.95.0.
rust_channel() { sed -n 's/^channel *= *"\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml"; }

# Puts cargo on PATH where rustup installs it; under sudo also that of the
# person who called it.
find_cargo() {
  local home
  for home in "$HOME" "$(getent passwd "${SUDO_USER:-}" | cut -d: -f6)"; do
    command -v cargo >/dev/null && return 0
    if [[ -n $home && -x $home/.cargo/bin/cargo ]]; then
      export PATH="$home/.cargo/bin:$PATH"
      export CARGO_HOME="${CARGO_HOME:-$home/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}"
    fi
  done
  command -v cargo >/dev/null
}

# The wanted toolchain with its components is there, without installing it.
rust_ready() {
  local channel
  channel=$(rust_channel)
  if command -v rustup >/dev/null; then
    rustup run "$channel" rustfmt --version && rustup run "$channel" cargo-clippy --version
  else
    [[ $(cargo --version) == "cargo $channel "* ]] && cargo fmt --version && cargo clippy --version
  fi >/dev/null 2>&1
}
