# What tells whether the house is in order.
.PHONY: check archives check-layers check-size check-banned check-owned check-generated check-headers check-globals \
  fuzz fuzzers fuzz-record fuzz-coverage
ARCHIVES := $(foreach r,$(ROOMS),$(if $(call room_sources,$(r)),$(call archive,$(r))))
archives: $(ARCHIVES)

check:
	@tools/check $(BUILD) $(MAKE) --no-print-directory

check-layers check-size check-banned check-owned check-generated:
	@tools/$@

check-headers: $(EMBEDDED) $(API_TEXTS)
	@tools/check-headers $(BUILD) $(CC) $(CPPFLAGS) $(filter-out -MMD -MP,$(CFLAGS))

check-globals: $(ARCHIVES)
	@tools/check-globals $(ARCHIVES)

# Fuzzers are built by clang, in a build directory of their own.
FUZZ_S ?= 20
FUZZ_BUILD := $(if $(filter %-fuzz,$(BUILD)),$(BUILD),$(BUILD)-fuzz)
fuzzers: $(FUZZERS)
fuzz:
	@$(MAKE) --no-print-directory BUILD=$(FUZZ_BUILD) CC=clang SANITIZE=address,undefined,fuzzer-no-link fuzzers
	@FUZZ_SEED=$(FUZZ_SEED) tools/fuzz $(FUZZ_S) $(FUZZ_BUILD)/found $(patsubst fuzz/%.c,$(FUZZ_BUILD)/fuzz/%,$(wildcard fuzz/*_fuzz.c))

# ARGS="doors/ api/": scenarios to record.
fuzz-record:
	@exec tools/fuzz-record --build $(BUILD) $(ARGS)

# How much of each parser its corpus reaches; VERBOSE=-v shows what is left.
fuzz-coverage:
	@CPPFLAGS="-fprofile-instr-generate -fcoverage-mapping" LDFLAGS=-fprofile-instr-generate \
	    $(MAKE) --no-print-directory BUILD=$(BUILD)-coverage CC=clang fuzzers
	@tools/fuzz-coverage $(VERBOSE) $(BUILD)-coverage
