//! Whatever a boot does with a tree and its overlays, in the order of a boot.
//!
//! Shared by the tests with mutations and the fuzz targets.

use firn::{
    devicetree::{
        DeviceTree, DeviceTreeBuf, Error,
        chosen::{Boot, Chosen, put_seeds, take_seeds},
        ethernet,
        fixup::Tee,
        memory, overlay,
    },
    entropy::{Pool, Source},
    ethernet::Address,
    memory::Region,
    soc::fixups::{ETHERNET, IMX8MP, TEE_SHARED},
};

/// Reads all of a tree, then makes it the kernel's. Err if it is refused; what is accepted must come
/// out as a tree that says what it was told.
pub(crate) fn exercise(bytes: &[u8], overlays: &[&[u8]]) -> Result<(), Error> {
    let tree = DeviceTree::validate(bytes)?;
    read(tree, bytes.len());
    for overlay in overlays {
        lay_over(tree, overlay);
    }

    let mut edited = DeviceTreeBuf::from(tree);
    let banks = [Region::new(0x4000_0000, 0xc000_0000)];
    let remembered = memory::set_banks(&mut edited, &banks).is_ok();
    fit(&mut edited);
    edited.root_mut().remove("bootargs");

    let mut pool = Pool::default();
    let _ = take_seeds(&mut bytes.to_vec(), &mut pool);
    pool.absorb(Source::Generator, &(0..64).collect::<Vec<u8>>());
    let seeds = pool.draw().expect("64 bytes");
    let chosen = Chosen {
        command_line: "quiet",
        initrd: Some(Region::new(0x5000_0000, 0x1000)),
        seeds: Some(&seeds),
        boot: Boot { version: "1", generation: "2", ..Boot::default() },
    };
    if chosen.write(&mut edited).is_ok()
        && let Ok(mut written) = edited.to_vec(0)
    {
        put_seeds(&edited, &mut written, &seeds).expect("room was made");
        let tree = DeviceTree::validate(&written).expect("what was written is a tree");
        let bootargs = tree.find("/chosen").and_then(|chosen| chosen.property("bootargs"));
        assert_eq!(bootargs.and_then(|bootargs| bootargs.as_str()), Some("quiet"));
        assert!(!remembered || memory::banks(tree) == banks);
    }
    Ok(())
}

/// Lays an overlay over a tree; gives what came out, which must be a tree.
pub(crate) fn lay_over(base: DeviceTree<'_>, overlay: &[u8]) -> Option<Vec<u8>> {
    let overlay = DeviceTree::validate(overlay).ok()?;
    let mut edited = DeviceTreeBuf::from(base);
    match overlay::apply(&mut edited, overlay) {
        Ok(()) => {
            let written = edited.to_vec(0).expect("it is not larger than a tree may be");
            DeviceTree::validate(&written).expect("what was written is a tree");
            Some(written)
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 1000 && !text.contains(char::is_control), "{text:?}");
            None
        }
    }
}

/// Everything in a tree, which has `size` bytes.
fn read(tree: DeviceTree<'_>, size: usize) {
    for node in tree.nodes() {
        let read = node.properties().fold(node.name().len(), |read, property| {
            read + property.name().len() + property.strings().count() + property.value().len()
        });
        assert!(read <= size * 300);
    }
    memory::banks(tree);
    memory::reservations(tree);
    let _ = (tree.model(), tree.is_compatible("fsl,imx8mp-evk"), tree.find("/soc/serial"));
}

/// All fix-ups, though no part needs all of them.
fn fit(tree: &mut DeviceTreeBuf) {
    for row in IMX8MP {
        drop(row.action.apply(tree));
    }
    let address = Address::derived(1, 0);
    for interface in ethernet::interfaces(tree.view(), &ETHERNET) {
        drop(ethernet::set_address(tree, &interface.path, address));
    }
    drop(Tee::tell(Tee::of(tree.view()), tree));
    drop(Tee::tell(Some(Tee::new(Region::new(0x5600_0000, 32 << 20), TEE_SHARED)), tree));
}
