# What people type.
.PHONY: all help programs check-layers unit run test long install clean distclean
all: programs
programs: $(PROGRAMS)

help:
	@sed -n 's/^#: //p' tools/build/doors.mk
#: make run        build, then start Adit embedded (Ctrl-C stops it); state is in ./var
#: make test       all tests (<= 20 minutes; root for network namespaces)
#: make check      build, layers, lint, unit tests (4 minutes, no root)
#: make long       soak, chaos, long fuzz
#: make fuzz       each fuzzer for FUZZ_S seconds (20), from its corpus
#: make fuzz-record  seeds for the fuzzers from what the parsers see in e2e scenarios (root)
#: make fuzz-coverage  what its corpus reaches of each parser (90 % at the least)
#: make bench      measurements of the tunnel beside its peers
#: make bench-policy  decisions, changes and loads over 100 to 100,000 grants; make bench-mux: the mux alone
#: make install    programs, manual pages, completion, under $(DESTDIR)$(PREFIX)
#: make clean      removes what was built; make distclean: var/ too, after asking
#: make unit ROOM=lib/mux   the unit tests of one room (without ROOM: of all)
#: make unit-alloc   unit programs with each allocation failing, for ALLOC_S seconds (10) a program
#: make unit-threads  those of the rooms that threads meet in, under ThreadSanitizer

# ROOM=lib/mux: only what that room needs is built; ROOM="lib/mux lib/net": of both.
UNIT_TESTS := $(if $(ROOM),$(patsubst %.c,$(BUILD)/%,$(foreach r,$(ROOM),$(call room_tests,$(r)))),$(TESTS))
# Those that keep a store run on both databases.
STORE_TESTS = $(filter $(patsubst %.c,$(BUILD)/%,$(shell grep -lE 'store_where_fixture|store_fixture|publish_fixture|api_fixture' $$(find controlplane -name '*_test.c'))),$(UNIT_TESTS))
unit: $(UNIT_TESTS)
	@tools/run-unit $(UNIT_TESTS) $(addsuffix @postgres,$(STORE_TESTS))

# The rooms that threads meet in, under ThreadSanitizer.
.PHONY: unit-threads
THREAD_ROOMS := lib/base lib/log lib/obs lib/crypto lib/net lib/http lib/policy lib/state lib/tunnel/pair \
  lib/tunnel/server $(filter dataplane/%,$(ROOMS))
unit-threads:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-tsan SANITIZE=thread ROOM="$(THREAD_ROOMS)" unit

# Each allocation of a unit program fails once: tools/unit-alloc.  ROOM as for unit.
.PHONY: unit-alloc unit-alloc-run
ALLOC_S ?= 10
unit-alloc:
	@$(MAKE) BUILD=$(if $(filter %-asan,$(BUILD)),$(BUILD),$(BUILD)-asan) SANITIZE=address,undefined ROOM="$(ROOM)" unit-alloc-run
unit-alloc-run: $(UNIT_TESTS)
	@exec tools/unit-alloc $(ALLOC_S) $(UNIT_TESTS)

# ARGS="--port-base 10000": what adit up is given.
run:
	@exec tools/run $(BUILD) $(ARGS)

test:
	@exec tools/test $(BUILD)

long:
	@exec tools/test --long $(BUILD)

# ARGS="--peers adit-connect,frp --rounds 10": see bench/README.md.
.PHONY: bench
BENCH_TOOLS := $(BUILD)/bench/tunnel/load $(BUILD)/bench/tunnel/target
$(BENCH_TOOLS): %: %.o
	@$(CC) $(LDFLAGS) -o $@ $< -lpthread
bench: programs $(BENCH_TOOLS)
	@exec bench/tunnel/run.py --bin $(BUILD)/bin --tools $(BUILD)/bench/tunnel $(ARGS)

# Benchmarks of one room: bench/NAME_bench.c names it in a first line "// room: lib/policy".
# ARGS="1000": what it is given.
BENCHES := $(patsubst bench/%_bench.c,%,$(wildcard bench/*_bench.c))
bench_room = $(shell sed -n '1s,^// room: *\([a-z0-9/]*\).*,\1,p' bench/$(1)_bench.c)
define bench_rule
.PHONY: bench-$(1)
$(BUILD)/bench/$(1)_bench: $(BUILD)/bench/$(1)_bench.o $(foreach r,$(call deps,$(call bench_room,$(1))),$(call archive,$(r)))
	@$(CC) $(LDFLAGS) -o $$@ $$^ $(call libs,$(call bench_room,$(1))) -lpthread -lm
bench-$(1): $(BUILD)/bench/$(1)_bench
	@exec $$< $(ARGS)
endef
$(foreach b,$(BENCHES),$(eval $(call bench_rule,$(b))))

# ARGS="--agents 15000 --minutes 10".
.PHONY: bench-agents
CROWD := $(BUILD)/bench/agents/crowd
CROWD_ROOM := agent/uplink
$(CROWD): $(CROWD).o $(foreach r,$(call deps,$(CROWD_ROOM)),$(call archive,$(r)))
	@$(CC) $(LDFLAGS) -o $@ $^ $(call libs,$(CROWD_ROOM)) -lpthread -lm
bench-agents: programs $(CROWD)
	@exec bench/agents/run.py --bin $(BUILD)/bin --crowd $(CROWD) $(ARGS)

PREFIX ?= /usr/local
install: programs
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 0755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	@tools/install-texts $(BUILD)/bin/adit $(DESTDIR)$(PREFIX)/share

clean:
	rm -rf $(BUILD)

distclean: clean
	@if [ -d var ]; then \
	    printf 'Remove var/ (users, keys, audit trail of this checkout)? [y/N] '; \
	    read -r answer; [ "$$answer" = y ] && rm -rf var || echo 'var/ stays'; \
	fi
