/* One set point, trained twice. */
struct dram_cfg_param controller[] = {
	{ 0x3d400000, 0xa1080020 },
	{ .reg = 0x3d400020, .val = 1 },
#ifdef CONFIG_SET
	{ 0x3d400200, 0x1f },
#else
	{ 0x3d400200, 0x16 },
#endif
};
struct dram_cfg_param phy[] = { { 0x100a0, 0 }, { 0x1005f, 0x1ff } };
struct dram_cfg_param trained[] = { { 0x200b2, 0 } };
struct dram_cfg_param message[] = { { 0x54003, 0xfa0 }, { 0x54019, 0x3ff4 } };
struct dram_cfg_param pie[] = { { 0xd0000, 0 }, { 0xd0000, 1 } };
struct dram_fsp_msg messages[] = {
	{ .drate = 4000, .fw_type = FW_1D_IMAGE, .fsp_cfg = message, .fsp_cfg_num = ARRAY_SIZE(message), },
	{ .drate = 4000, .fw_type = FW_2D_IMAGE, .fsp_cfg = message },
};
struct dram_timing_info dram_timing = {
	.ddrc_cfg = controller, .ddrphy_cfg = phy, .fsp_msg = messages,
	.ddrphy_trained_csr = trained, .ddrphy_pie = pie, .fsp_table = { 4000, 0 },
};
void scrub(void) {
	ddrc_inline_ecc_scrub(0x0, 0x3ffffff);
	ddrc_inline_ecc_scrub_end(0x0, 0x1bffffff);
}
