# What people type.
.PHONY: all help programs check-layers unit
all: programs
programs: $(PROGRAMS)

help:
	@sed -n 's/^#: //p' tools/build/doors.mk
#: make run        build, then start Adit embedded (Ctrl-C stops it); state is in ./var
#: make test       all tests (<= 20 minutes; root for network namespaces)
#: make check      build, layers, lint, unit tests (4 minutes, no root)
#: make long       soak, chaos, long fuzz
#: make bench      measurements
#: make unit ROOM=lib/mux   the unit tests of one room (without ROOM: of all)

# ROOM=lib/mux: only what that room needs is built.
UNIT_TESTS := $(if $(ROOM),$(patsubst %.c,$(BUILD)/%,$(call room_tests,$(ROOM))),$(TESTS))
unit: $(UNIT_TESTS)
	@tools/run-unit $(UNIT_TESTS)
