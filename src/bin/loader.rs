#![cfg_attr(target_os = "none", no_std, no_main)]
//! Second stage (shipped as `firn.bin`): a list of steps.
