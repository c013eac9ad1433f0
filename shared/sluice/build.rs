//! Builds the table of partition keys that [`records::spread`] walks: for each of `STRATA` equal
//! slices of the 128-bit hash space, the smallest number whose MD5, taken as base-36 text, falls
//! into it. Finding these at run time would cost a cold start 200,000 MD5s.

use std::{env, fs, path::Path};

use md5::{Digest, Md5};

include!("src/records/base36.rs");

const STRATA_BITS: u32 = 14;

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script by the environment")]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/records/base36.rs");
    let strata = 1usize << STRATA_BITS;
    let mut keys: Vec<Option<u32>> = vec![None; strata];
    let mut missing = strata;
    let mut number = 0u32;
    while missing > 0 {
        let hash = Md5::digest(base36(number).as_bytes());
        let stratum = (u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
            >> (32 - STRATA_BITS)) as usize;
        if keys[stratum].is_none() {
            keys[stratum] = Some(number);
            missing -= 1;
        }
        number += 1;
    }
    let bytes: Vec<u8> = keys.into_iter().flatten().flat_map(u32::to_le_bytes).collect();
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    fs::write(Path::new(&out).join("partition_keys.bin"), bytes).expect("OUT_DIR is writable");
}
