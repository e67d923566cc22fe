# Images of cards, and what other ways of making one are told.
{
  all,
  contains,
  equal,
  evaluateOn,
  failures,
  lib,
  refused,
  withoutHashes,
  ...
}:

let
  root = {
    device = "/dev/disk/by-label/NIXOS_SD";
    fsType = "ext4";
  };
  withMounts =
    mounts: module:
    evaluateOn mounts {
      imports = [
        ../image
        module
      ];
      nixpkgs.config.allowUnfreePredicate = _: true;
    };
  with_ = withMounts { "/" = root; };
  image = settings: with_ { boot.loader.firn.image = settings; };

  # What runs in the derivation.
  build = config: withoutHashes config.system.build.firnImage.build.text;
  has = part: config: contains part (build config);
  lacks =
    part: config:
    if lib.hasInfix part (build config) then
      "expected a script without ${part}, found ${build config}"
    else
      null;

  # nixpkgs' and disko's modules are not part of the stub: what is told to them is looked at.
  anything =
    name:
    { lib, ... }:
    {
      options.${name} = lib.mkOption {
        type = lib.types.lazyAttrsOf lib.types.anything;
        default = { };
      };
    };
  sdImage =
    module:
    with_ {
      imports = [
        (anything "sdImage")
        ../image/sd-image.nix
        module
      ];
    };
  repart = with_ {
    imports = [
      (anything "image")
      ../image/repart.nix
    ];
    image.repart.imageFile = "nixos.raw";
    system.build.image = "/nix/store/image";
  };
  disko = evaluateOn { } {
    imports = [
      (
        { lib, ... }:
        {
          options.disko = {
            devices = lib.mkOption { type = lib.types.anything; };
            imageBuilder = {
              extraPostVM = lib.mkOption { type = lib.types.lines; };
              imageFormat = lib.mkOption { type = lib.types.str; };
            };
          };
        }
      )
      (import ../image/disko.nix "/dev/mmcblk2")
    ];
    nixpkgs.config.allowUnfreePredicate = _: true;
    boot.loader.firn.firmware.enable = true;
    disko = {
      imageBuilder.imageFormat = "raw";
      devices.disk.firn.imageName = "firn";
    };
  };
  partitions = disko.disko.devices.disk.firn.content.partitions;
  firstBoot = config: config.systemd.services.firn-first-boot;
in
{
  "an image is a derivation" = equal "derivation" (image { }).system.build.firnImage.type;
  "an image belongs to a system that passes its assertions" =
    refused
      (with_ { boot.loader.systemd-boot.enable = true; }).system.build.firnImage.drvPath;
  "the image of a plain system" = all [
    (has "/bin/firn install --config /nix/store/firn-install.json --populate --root ./files /nix/store/"
      (image { })
    )
    (has "--table gpt --label NIXOS_SD --uuid 44444444-4444-4444-8888-888888888888 --slack 256 \"$out/"
      (image { })
    )
    (has "--flash /nix/store/flash-image-imx8mp-evk/flash.bin" (image { }))
    (lacks "--boot-dir" (image { }))
  ];
  "table" = has "--table mbr" (image {
    table = "mbr";
  });
  "another table" = refused (image { table = "apm"; }).boot.loader.firn.image.table;
  "name" = all [
    (has "\"$out/gateway.img\"" (image {
      name = "gateway";
    }))
    (equal "gateway.img" (image { name = "gateway"; }).system.build.firnImage.name)
  ];
  "a name that is a path" = refused (image { name = "a/b"; }).boot.loader.firn.image.name;
  "label" = has "--label OTHER" (image {
    label = "OTHER";
  });
  "the label is what the root is mounted by" = has "--label BOARD" (
    withMounts {
      "/" = root // {
        device = "/dev/disk/by-label/BOARD";
      };
    } { }
  );
  "a root that is mounted by something else" = has "--label NIXOS_SD" (
    withMounts {
      "/" = root // {
        device = "/dev/mmcblk1p5";
      };
    } { }
  );
  "a label that ext4 has no room for" =
    refused
      (image { label = "seventeen-letters"; }).boot.loader.firn.image.label;
  "uuid" = has "--uuid 14e19a7b-0ae0-484d-9d54-43bd6fdc20c7" (image {
    uuid = "14e19a7b-0ae0-484d-9d54-43bd6fdc20c7";
  });
  "slack" = has "--slack 1000" (image {
    slack = 1000;
  });
  "no slack at all" = refused (image { slack = 0; }).boot.loader.firn.image.slack;
  "compress" = all [
    (has "--compress" (image {
      compress = true;
    }))
    (lacks "--compress" (image { }))
    (equal "a.img.zst"
      (image {
        name = "a";
        compress = true;
      }).system.build.firnImage.name
    )
  ];
  "a boot partition where there is a mount for it" =
    has "--boot-dir boot --boot-size 512 --boot-format ext4 --boot-label FIRN_BOOT"
      (
        withMounts {
          "/" = root;
          "/boot" = {
            device = "/dev/disk/by-label/FIRN_BOOT";
            fsType = "ext4";
          };
        } { }
      );
  "a boot partition as a user wants it" =
    has "--boot-size 100 --boot-format vfat --boot-label BOOT"
      (image {
        bootPartition = {
          enable = true;
          size = 100;
          format = "vfat";
          label = "BOOT";
        };
      });
  "populateCommands" = has "touch files/etc/here" (image {
    populateCommands = "touch files/etc/here";
  });
  "storePaths" = equal 2 (
    lib.length
      (with_ (
        { pkgs, ... }:
        {
          boot.loader.firn.image.storePaths = [ pkgs.jq ];
        }
      )).system.build.firnImage.closure.exportReferencesGraph.closure
  );

  "the first boot registers the store and grows the root, until it is done" = all [
    (equal "/nix-path-registration" (firstBoot (image { })).unitConfig.ConditionPathExists)
    (contains "nix-store --load-db </nix-path-registration" (firstBoot (image { })).script)
    (contains "grow-root.sh" (firstBoot (image { })).script)
    (equal true (lib.hasSuffix "rm /nix-path-registration\n" (firstBoot (image { })).script))
    (equal [ "nix-daemon.service" ] (firstBoot (image { })).before)
  ];
  "growRoot" = equal false (
    lib.hasInfix "grow-root.sh"
      (firstBoot (image {
        growRoot = false;
      })).script
  );

  "sd-image has the gap, the files and flash.bin" =
    let
      found = (sdImage { }).sdImage;
    in
    all [
      (equal 8 found.firmwarePartitionOffset)
      (contains "firn install --config /nix/store/firn-install.json --populate --root ./files /nix/store/" (
        withoutHashes found.populateRootCommands
      ))
      (contains "firn write /nix/store/flash-image-imx8mp-evk/flash.bin \"$img\" --copy both" (
        withoutHashes found.postBuildCommands
      ))
      (equal [ ] (failures (sdImage { })))
    ];
  "sd-image with too small a gap" = contains "sdImage.firmwarePartitionOffset is 4" (
    lib.concatStrings (
      failures (sdImage {
        sdImage.firmwarePartitionOffset = 4;
      })
    )
  );

  "repart keeps the gap, which becomes Firn's" = all [
    (contains "--populate --root \"$out\" /nix/store/" (
      withoutHashes repart.system.build.firnRoot.buildCommand
    ))
    (contains "/registration \"$out/nix-path-registration\"" repart.system.build.firnRoot.buildCommand)
    (equal "firn-gap" repart.image.repart.partitions."00-firn-gap".repartConfig.Label)
    (equal "7M" repart.image.repart.partitions."00-firn-gap".repartConfig.SizeMaxBytes)
    (contains "own-gap.sh" (withoutHashes repart.system.build.firnRepartImage.buildCommand))
    (contains "firn write /nix/store/flash-image-imx8mp-evk/flash.bin \"$image\" --copy both" (
      withoutHashes repart.system.build.firnRepartImage.buildCommand
    ))
  ];

  "disko's disk is the one that is named" = equal "/dev/mmcblk2" disko.disko.devices.disk.firn.device;
  "disko keeps the places of flash.bin and of the record" = all [
    (equal "64s 7935s" "${partitions.firn-flash-a.start} ${partitions.firn-flash-a.end}")
    (equal "7936s 7943s" "${partitions.firn-state-a.start} ${partitions.firn-state-a.end}")
    (equal "8256s 16127s" "${partitions.firn-flash-b.start} ${partitions.firn-flash-b.end}")
    (equal "16128s 16135s" "${partitions.firn-state-b.start} ${partitions.firn-state-b.end}")
    (equal "16384s" partitions.root.start)
    (equal true (partitions.firn-state-b.priority < partitions.root.priority))
  ];
  "disko's image builder writes flash.bin into the image" =
    contains "firn write /nix/store/flash-image-imx8mp-evk/flash.bin \\\n  \"$out/firn.raw\" --copy both" (
      withoutHashes disko.disko.imageBuilder.extraPostVM
    );
  "disko writes flash.bin to no device" = all (
    map (name: equal false (disko.disko.devices.disk.firn ? ${name})) [
      "postCreateHook"
      "postMountHook"
    ]
  );

  "card-image.sh has the same layout" =
    let
      script = builtins.readFile ../image/card-image.sh;
      layout = import ../image/layout.nix;
      starts = map (partition: toString partition.start) layout.partitions;
      value = name: lib.head (builtins.match ".*\n${name}=([0-9]+) .*" script);
    in
    equal (starts ++ [ (toString layout.firstPartition) ]) (
      map value [
        "primary_start"
        "first_record"
        "secondary_start"
        "second_record"
        "first_partition"
      ]
    );
}
