# How a room becomes an archive, a test, a program, a fuzzer.
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
  -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wswitch-enum -Wno-missing-field-initializers $(WERROR)
HARDENING := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
ifneq ($(SANITIZE),)
HARDENING := -fPIE -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
OPT := -O1
endif
CPPFLAGS += -D_GNU_SOURCE -I. -I$(BUILD)/gen
CFLAGS := -std=gnu17 -g $(OPT) $(WARNINGS) $(HARDENING)
LDFLAGS += -pie -Wl,-z,relro,-z,now $(if $(SANITIZE),-fsanitize=$(SANITIZE))

room_sources = $(filter-out %_test.c %/main.c,$(wildcard $(1)/*.c))
room_tests = $(wildcard $(1)/*_test.c)
archive = $(BUILD)/lib/$(subst /,_,$(1)).a

# .sql and other embedded text: FILE becomes $(BUILD)/gen/FILE.h, a byte array.
SQL_SOURCES := $(wildcard controlplane/store/*.sql)
EMBEDDED := $(addprefix $(BUILD)/gen/,$(addsuffix .h,$(wildcard migrations/*/*.sql) $(SQL_SOURCES)))
$(BUILD)/gen/%.h: % tools/build/embed
	@mkdir -p $(@D)
	@tools/build/embed $< > $@

# The REST contract is written as YAML and served as JSON, with its page.
API_TEXTS := $(addprefix $(BUILD)/gen/api/,openapi.json.h docs.html.h docs.js.h docs.css.h)
$(BUILD)/tools/yaml2json: tools/build/yaml2json.c
	@mkdir -p $(@D)
	@$(CC) -O1 -o $@ $< -lyaml
$(BUILD)/gen/api/openapi.json: api/openapi.yaml $(BUILD)/tools/yaml2json
	@mkdir -p $(@D)
	@$(BUILD)/tools/yaml2json $< > $@
$(BUILD)/gen/api/openapi.json.h: $(BUILD)/gen/api/openapi.json
	@root=$$PWD; cd $(BUILD)/gen && "$$root/tools/build/embed" api/openapi.json > api/openapi.json.h

# What a room compiles that is not in it: none needs it but the control plane.
GENERATED_FOR_controlplane/store := $(EMBEDDED)
GENERATED_FOR_controlplane/http := $(EMBEDDED)
GENERATED_FOR_controlplane/routes := $(API_TEXTS)

define room_rules
$(call archive,$(1)): $(patsubst %.c,$(BUILD)/%.o,$(call room_sources,$(1)))
	@mkdir -p $$(@D); rm -f $$@
	@$(AR) rcs $$@ $$^
$(patsubst %.c,$(BUILD)/%.o,$(call room_sources,$(1)) $(call room_tests,$(1))): | $(GENERATED_FOR_$(1))
$(foreach t,$(call room_tests,$(1)),$(call test_rule,$(1),$(patsubst %.c,$(BUILD)/%,$(t))))
endef
# lib/check/alloc.h: tests can make the nth allocation fail.
TEST_WRAP := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--undefined=__wrap_malloc
define test_rule
$(2): $(2).o $(foreach r,$(call deps,$(1)),$(call archive,$(r))) $(call archive,lib/check)
	@$(CC) $(LDFLAGS) $(TEST_WRAP) -o $$@ $$(filter %.o,$$^) $(call archive,lib/check) $(foreach r,$(call deps,$(1)),$(call archive,$(r))) $(call libs,$(1)) -lcmocka -lpthread -lm
TESTS += $(2)

endef

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@$(if $(PROGRESS),printf '  cc %s\n' $<,:)
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

TESTS :=
$(foreach r,$(ROOMS),$(eval $(call room_rules,$(r))))

# Programs: one main.c in each of these rooms.
program_controlplane := adit-controlplane
program_dataplane := adit-relay
program_agent := adit-agent
program_cli := adit
PROGRAM_ROOMS := $(foreach r,controlplane dataplane agent cli,$(if $(wildcard $(r)/main.c),$(r)))
PROGRAMS := $(foreach r,$(PROGRAM_ROOMS),$(BUILD)/bin/$(program_$(r)))
define program_rule
$(BUILD)/bin/$(program_$(1)): $(BUILD)/$(1)/main.o $(foreach r,$(call deps,$(1)),$(call archive,$(r)))
	@mkdir -p $$(@D)
	@$(CC) $(LDFLAGS) -o $$@ $$^ $(call libs,$(1)) -lpthread -lm
endef
$(foreach r,$(PROGRAM_ROOMS),$(eval $(call program_rule,$(r))))

# A relay whose links have 48 ids and not two thousand million, for e2e/scenarios/moving/ids.py.
FEW_IDS := $(BUILD)/few-ids
.PHONY: few-ids
few-ids: $(FEW_IDS)/adit-relay
$(FEW_IDS)/%.o: %.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) -DMUX_IDS_LEFT=2147483599u $(CFLAGS) -MMD -MP -c -o $@ $<
$(FEW_IDS)/adit-relay: $(BUILD)/dataplane/main.o $(patsubst %.c,$(FEW_IDS)/%.o,$(call room_sources,lib/mux)) \
  $(foreach r,$(filter-out lib/mux,$(call deps,dataplane)),$(call archive,$(r)))
	@$(CC) $(LDFLAGS) -o $@ $^ $(call libs,dataplane) -lpthread -lm

# Fuzzers: fuzz/NAME.c names its room in a first line "// room: lib/http1".
FUZZERS := $(patsubst fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard fuzz/*_fuzz.c))
fuzz_room = $(shell sed -n '1s,^/[/*] *room: *\([a-z0-9/]*\).*,\1,p' fuzz/$(1).c)
define fuzz_rule
$(BUILD)/fuzz/$(1): $(BUILD)/fuzz/$(1).o $(foreach r,$(call deps,$(call fuzz_room,$(1))),$(call archive,$(r)))
	@$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $$@ $$^ $(call libs,$(call fuzz_room,$(1))) -lpthread -lm
endef
$(foreach f,$(notdir $(FUZZERS)),$(eval $(call fuzz_rule,$(f))))

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
