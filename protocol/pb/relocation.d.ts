import type * as $protobuf from "protobufjs/minimal.js";
export namespace fluidcloud {
    namespace relocation {
        namespace v1 {
            interface IFrame extends fluidcloud.relocation.v1.Frame.$Properties {
            }
            class Frame {
                constructor(properties?: fluidcloud.relocation.v1.Frame.$Properties);
                $unknowns?: Uint8Array[];
                request: number;
                prepare?: (fluidcloud.relocation.v1.Prepare.$Properties|null);
                pending?: (fluidcloud.relocation.v1.Pending.$Properties|null);
                answer?: (fluidcloud.relocation.v1.Answer.$Properties|null);
                handover?: (fluidcloud.relocation.v1.Handover.$Properties|null);
                ask?: (fluidcloud.relocation.v1.Ask.$Properties|null);
                lease?: (fluidcloud.relocation.v1.Lease.$Properties|null);
                progress?: (fluidcloud.relocation.v1.Progress.$Properties|null);
                changed?: (fluidcloud.relocation.v1.Changed.$Properties|null);
                verdict?: (fluidcloud.relocation.v1.Verdict.$Properties|null);
                commit?: (fluidcloud.relocation.v1.Commit.$Properties|null);
                abort?: (fluidcloud.relocation.v1.Abort.$Properties|null);
                released?: (fluidcloud.relocation.v1.Released.$Properties|null);
                finalize?: (fluidcloud.relocation.v1.Finalize.$Properties|null);
                inquire?: (fluidcloud.relocation.v1.Inquire.$Properties|null);
                standing?: (fluidcloud.relocation.v1.Standing.$Properties|null);
                refused?: (fluidcloud.relocation.v1.Refused.$Properties|null);
                heartbeat?: (fluidcloud.relocation.v1.Heartbeat.$Properties|null);
                message?: ("prepare"|"pending"|"answer"|"handover"|"ask"|"lease"|"progress"|"changed"|"verdict"|"commit"|"abort"|"released"|"finalize"|"inquire"|"standing"|"refused"|"heartbeat");
                static encode(message: fluidcloud.relocation.v1.Frame.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Frame & fluidcloud.relocation.v1.Frame.$Shape;
            }
            namespace Frame {
                interface $Properties {
                    request?: (number|null);
                    prepare?: (fluidcloud.relocation.v1.Prepare.$Properties|null);
                    pending?: (fluidcloud.relocation.v1.Pending.$Properties|null);
                    answer?: (fluidcloud.relocation.v1.Answer.$Properties|null);
                    handover?: (fluidcloud.relocation.v1.Handover.$Properties|null);
                    ask?: (fluidcloud.relocation.v1.Ask.$Properties|null);
                    lease?: (fluidcloud.relocation.v1.Lease.$Properties|null);
                    progress?: (fluidcloud.relocation.v1.Progress.$Properties|null);
                    changed?: (fluidcloud.relocation.v1.Changed.$Properties|null);
                    verdict?: (fluidcloud.relocation.v1.Verdict.$Properties|null);
                    commit?: (fluidcloud.relocation.v1.Commit.$Properties|null);
                    abort?: (fluidcloud.relocation.v1.Abort.$Properties|null);
                    released?: (fluidcloud.relocation.v1.Released.$Properties|null);
                    finalize?: (fluidcloud.relocation.v1.Finalize.$Properties|null);
                    inquire?: (fluidcloud.relocation.v1.Inquire.$Properties|null);
                    standing?: (fluidcloud.relocation.v1.Standing.$Properties|null);
                    refused?: (fluidcloud.relocation.v1.Refused.$Properties|null);
                    heartbeat?: (fluidcloud.relocation.v1.Heartbeat.$Properties|null);
                    message?: ("prepare"|"pending"|"answer"|"handover"|"ask"|"lease"|"progress"|"changed"|"verdict"|"commit"|"abort"|"released"|"finalize"|"inquire"|"standing"|"refused"|"heartbeat");
                    $unknowns?: Uint8Array[];
                }
                type $Shape = {
                  request?: number|null;
                  prepare?: fluidcloud.relocation.v1.Prepare.$Shape|null;
                  pending?: fluidcloud.relocation.v1.Pending.$Shape|null;
                  answer?: fluidcloud.relocation.v1.Answer.$Shape|null;
                  handover?: fluidcloud.relocation.v1.Handover.$Shape|null;
                  ask?: fluidcloud.relocation.v1.Ask.$Shape|null;
                  lease?: fluidcloud.relocation.v1.Lease.$Shape|null;
                  progress?: fluidcloud.relocation.v1.Progress.$Shape|null;
                  changed?: fluidcloud.relocation.v1.Changed.$Shape|null;
                  verdict?: fluidcloud.relocation.v1.Verdict.$Shape|null;
                  commit?: fluidcloud.relocation.v1.Commit.$Shape|null;
                  abort?: fluidcloud.relocation.v1.Abort.$Shape|null;
                  released?: fluidcloud.relocation.v1.Released.$Shape|null;
                  finalize?: fluidcloud.relocation.v1.Finalize.$Shape|null;
                  inquire?: fluidcloud.relocation.v1.Inquire.$Shape|null;
                  standing?: fluidcloud.relocation.v1.Standing.$Shape|null;
                  refused?: fluidcloud.relocation.v1.Refused.$Shape|null;
                  heartbeat?: fluidcloud.relocation.v1.Heartbeat.$Shape|null;
                  $unknowns?: Uint8Array[];
                } & (
                  ({ message?: undefined; prepare?: null; pending?: null; answer?: null; handover?: null; ask?: null; lease?: null; progress?: null; changed?: null; verdict?: null; commit?: null; abort?: null; released?: null; finalize?: null; inquire?: null; standing?: null; refused?: null; heartbeat?: null }|{ message?: "prepare"; prepare: fluidcloud.relocation.v1.Prepare.$Shape; pending?: null; answer?: null; handover?: null; ask?: null; lease?: null; progress?: null; changed?: null; verdict?: null; commit?: null; abort?: null; released?: null; finalize?: null; inquire?: null; standing?: null; refused?: null; heartbeat?: null }|{ message?: "pending"; prepare?: null; pending: fluidcloud.relocation.v1.Pending.$Shape; answer?: null; handover?: null; ask?: null; lease?: null; progress?: null; changed?: null; verdict?: null; commit?: null; abort?: null; released?: null; finalize?: null; inquire?: null; standing?: null; refused?: null; heartbeat?: null }|{ message?: "answer"; prepare?: null; pending?: null; answer: fluidcloud.relocation.v1.Answer.$Shape; handover?: null; ask?: null; lease?: null; progress?: null; changed?: null; verdict?: null; commit?: null; abort?: null; released?: null; finalize?: null; inquire?: null; standing?: null; refused?: null; heartbeat?: null }|{ message?: "handover"; prepare?: null; pending?: null; answer?: null; handover: fluidcloud.relocation.v1.Handover.$Shape; ask?: null; lease?: null; progress?: null; changed?: null; verdict?: null; commit?: null; abort?: null; released?: null; finalize?: null; inquire?: null; standing?: null; refused?: null; heartbeat?: null }|{ message?: "ask"; prepare?: null; pending?: null; answer?: null; handover?: null; ask: fluidcloud.relocation.v1.Ask.$Shape; lease?: null; progress?: null; changed?: null; verdict?: null; commit?: null; abort?: null; released?: null; finalize?: null; inquire?: null; standing?: null; refused?: null; heartbeat?: null }|{ message?: "lease"; prepare?: null; pending?: null; answer?: null; handover?: null; ask?: null; lease: fluidcloud.relocation.v1.Lease.$Shape; progress?: null; changed?: null; verdict?: null; commit?: null; abort?: null; released?: null; finalize?: null; inquire?: null; standing?: null; refused?: null; heartbeat?: null }|{ message?: "progress"; prepare?: null; pending?: null; answer?: null; handover?: null; ask?: null; lease?: null; progress: fluidcloud.relocation.v1.Progress.$Shape; changed?: null; verdict?: null; commit?: null; abort?: null; released?: null; finalize?: null; inquire?: null; standing?: null; refused?: null; heartbeat?: null }|{ message?: "changed"; prepare?: null; pending?: null; answer?: null; handover?: null; ask?: null; lease?: null; progress?: null; changed: fluidcloud.relocation.v1.Changed.$Shape; verdict?: null; commit?: null; abort?: null; released?: null; finalize?: null; inquire?: null; standing?: null; refused?: null; heartbeat?: null }|{ message?: "verdict"; prepare?: null; pending?: null; answer?: null; handover?: null; ask?: null; lease?: null; progress?: null; changed?: null; verdict: fluidcloud.relocation.v1.Verdict.$Shape; commit?: null; abort?: null; released?: null; finalize?: null; inquire?: null; standing?: null; refused?: null; heartbeat?: null }|{ message?: "commit"; prepare?: null; pending?: null; answer?: null; handover?: null; ask?: null; lease?: null; progress?: null; changed?: null; verdict?: null; commit: fluidcloud.relocation.v1.Commit.$Shape; abort?: null; released?: null; finalize?: null; inquire?: null; standing?: null; refused?: null; heartbeat?: null }|{ message?: "abort"; prepare?: null; pending?: null; answer?: null; handover?: null; ask?: null; lease?: null; progress?: null; changed?: null; verdict?: null; commit?: null; abort: fluidcloud.relocation.v1.Abort.$Shape; released?: null; finalize?: null; inquire?: null; standing?: null; refused?: null; heartbeat?: null }|{ message?: "released"; prepare?: null; pending?: null; answer?: null; handover?: null; ask?: null; lease?: null; progress?: null; changed?: null; verdict?: null; commit?: null; abort?: null; released: fluidcloud.relocation.v1.Released.$Shape; finalize?: null; inquire?: null; standing?: null; refused?: null; heartbeat?: null }|{ message?: "finalize"; prepare?: null; pending?: null; answer?: null; handover?: null; ask?: null; lease?: null; progress?: null; changed?: null; verdict?: null; commit?: null; abort?: null; released?: null; finalize: fluidcloud.relocation.v1.Finalize.$Shape; inquire?: null; standing?: null; refused?: null; heartbeat?: null }|{ message?: "inquire"; prepare?: null; pending?: null; answer?: null; handover?: null; ask?: null; lease?: null; progress?: null; changed?: null; verdict?: null; commit?: null; abort?: null; released?: null; finalize?: null; inquire: fluidcloud.relocation.v1.Inquire.$Shape; standing?: null; refused?: null; heartbeat?: null }|{ message?: "standing"; prepare?: null; pending?: null; answer?: null; handover?: null; ask?: null; lease?: null; progress?: null; changed?: null; verdict?: null; commit?: null; abort?: null; released?: null; finalize?: null; inquire?: null; standing: fluidcloud.relocation.v1.Standing.$Shape; refused?: null; heartbeat?: null }|{ message?: "refused"; prepare?: null; pending?: null; answer?: null; handover?: null; ask?: null; lease?: null; progress?: null; changed?: null; verdict?: null; commit?: null; abort?: null; released?: null; finalize?: null; inquire?: null; standing?: null; refused: fluidcloud.relocation.v1.Refused.$Shape; heartbeat?: null }|{ message?: "heartbeat"; prepare?: null; pending?: null; answer?: null; handover?: null; ask?: null; lease?: null; progress?: null; changed?: null; verdict?: null; commit?: null; abort?: null; released?: null; finalize?: null; inquire?: null; standing?: null; refused?: null; heartbeat: fluidcloud.relocation.v1.Heartbeat.$Shape })
                );
            }
            interface ISigned extends fluidcloud.relocation.v1.Signed.$Properties {
            }
            class Signed {
                constructor(properties?: fluidcloud.relocation.v1.Signed.$Properties);
                $unknowns?: Uint8Array[];
                body: Uint8Array;
                signature: Uint8Array;
                static encode(message: fluidcloud.relocation.v1.Signed.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Signed & fluidcloud.relocation.v1.Signed.$Shape;
            }
            namespace Signed {
                interface $Properties {
                    body?: (Uint8Array|null);
                    signature?: (Uint8Array|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Signed.$Properties;
            }
            interface IPrepare extends fluidcloud.relocation.v1.Prepare.$Properties {
            }
            class Prepare {
                constructor(properties?: fluidcloud.relocation.v1.Prepare.$Properties);
                $unknowns?: Uint8Array[];
                plan?: (fluidcloud.relocation.v1.Signed.$Properties|null);
                dry: boolean;
                static encode(message: fluidcloud.relocation.v1.Prepare.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Prepare & fluidcloud.relocation.v1.Prepare.$Shape;
            }
            namespace Prepare {
                interface $Properties {
                    plan?: (fluidcloud.relocation.v1.Signed.$Properties|null);
                    dry?: (boolean|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Prepare.$Properties;
            }
            interface IPlan extends fluidcloud.relocation.v1.Plan.$Properties {
            }
            class Plan {
                constructor(properties?: fluidcloud.relocation.v1.Plan.$Properties);
                $unknowns?: Uint8Array[];
                relocation: Uint8Array;
                source: string;
                target: string;
                service: string;
                live: boolean;
                machines: fluidcloud.relocation.v1.PlannedMachine.$Properties[];
                health: fluidcloud.relocation.v1.HealthCheck.$Properties[];
                gateMs: number;
                static encode(message: fluidcloud.relocation.v1.Plan.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Plan & fluidcloud.relocation.v1.Plan.$Shape;
            }
            namespace Plan {
                interface $Properties {
                    relocation?: (Uint8Array|null);
                    source?: (string|null);
                    target?: (string|null);
                    service?: (string|null);
                    live?: (boolean|null);
                    machines?: (fluidcloud.relocation.v1.PlannedMachine.$Properties[]|null);
                    health?: (fluidcloud.relocation.v1.HealthCheck.$Properties[]|null);
                    gateMs?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Plan.$Properties;
            }
            interface IPlannedMachine extends fluidcloud.relocation.v1.PlannedMachine.$Properties {
            }
            class PlannedMachine {
                constructor(properties?: fluidcloud.relocation.v1.PlannedMachine.$Properties);
                $unknowns?: Uint8Array[];
                machine?: (fluidcloud.relocation.v1.Machine.$Properties|null);
                disks: fluidcloud.relocation.v1.PlannedDisk.$Properties[];
                steps: fluidcloud.relocation.v1.Step.$Properties[];
                static encode(message: fluidcloud.relocation.v1.PlannedMachine.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.PlannedMachine & fluidcloud.relocation.v1.PlannedMachine.$Shape;
            }
            namespace PlannedMachine {
                interface $Properties {
                    machine?: (fluidcloud.relocation.v1.Machine.$Properties|null);
                    disks?: (fluidcloud.relocation.v1.PlannedDisk.$Properties[]|null);
                    steps?: (fluidcloud.relocation.v1.Step.$Properties[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.PlannedMachine.$Properties;
            }
            interface IMachine extends fluidcloud.relocation.v1.Machine.$Properties {
            }
            class Machine {
                constructor(properties?: fluidcloud.relocation.v1.Machine.$Properties);
                $unknowns?: Uint8Array[];
                name: string;
                architecture: string;
                vcpus: number;
                memoryBytes: number;
                firmware: string;
                chipset: string;
                disks: fluidcloud.relocation.v1.Disk.$Properties[];
                nics: fluidcloud.relocation.v1.Nic.$Properties[];
                extraJson: string;
                static encode(message: fluidcloud.relocation.v1.Machine.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Machine & fluidcloud.relocation.v1.Machine.$Shape;
            }
            namespace Machine {
                interface $Properties {
                    name?: (string|null);
                    architecture?: (string|null);
                    vcpus?: (number|null);
                    memoryBytes?: (number|null);
                    firmware?: (string|null);
                    chipset?: (string|null);
                    disks?: (fluidcloud.relocation.v1.Disk.$Properties[]|null);
                    nics?: (fluidcloud.relocation.v1.Nic.$Properties[]|null);
                    extraJson?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Machine.$Properties;
            }
            interface IDisk extends fluidcloud.relocation.v1.Disk.$Properties {
            }
            class Disk {
                constructor(properties?: fluidcloud.relocation.v1.Disk.$Properties);
                $unknowns?: Uint8Array[];
                id: string;
                format: string;
                sizeBytes: number;
                boot: boolean;
                bus: string;
                readOnly: boolean;
                serial: string;
                static encode(message: fluidcloud.relocation.v1.Disk.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Disk & fluidcloud.relocation.v1.Disk.$Shape;
            }
            namespace Disk {
                interface $Properties {
                    id?: (string|null);
                    format?: (string|null);
                    sizeBytes?: (number|null);
                    boot?: (boolean|null);
                    bus?: (string|null);
                    readOnly?: (boolean|null);
                    serial?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Disk.$Properties;
            }
            interface INic extends fluidcloud.relocation.v1.Nic.$Properties {
            }
            class Nic {
                constructor(properties?: fluidcloud.relocation.v1.Nic.$Properties);
                $unknowns?: Uint8Array[];
                id: string;
                mac: string;
                model: string;
                network: string;
                forwards: fluidcloud.relocation.v1.Forward.$Properties[];
                static encode(message: fluidcloud.relocation.v1.Nic.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Nic & fluidcloud.relocation.v1.Nic.$Shape;
            }
            namespace Nic {
                interface $Properties {
                    id?: (string|null);
                    mac?: (string|null);
                    model?: (string|null);
                    network?: (string|null);
                    forwards?: (fluidcloud.relocation.v1.Forward.$Properties[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Nic.$Properties;
            }
            interface IForward extends fluidcloud.relocation.v1.Forward.$Properties {
            }
            class Forward {
                constructor(properties?: fluidcloud.relocation.v1.Forward.$Properties);
                $unknowns?: Uint8Array[];
                hostAddress: string;
                hostPort: number;
                guestPort: number;
                static encode(message: fluidcloud.relocation.v1.Forward.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Forward & fluidcloud.relocation.v1.Forward.$Shape;
            }
            namespace Forward {
                interface $Properties {
                    hostAddress?: (string|null);
                    hostPort?: (number|null);
                    guestPort?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Forward.$Properties;
            }
            interface IPlannedDisk extends fluidcloud.relocation.v1.PlannedDisk.$Properties {
            }
            class PlannedDisk {
                constructor(properties?: fluidcloud.relocation.v1.PlannedDisk.$Properties);
                $unknowns?: Uint8Array[];
                id: string;
                sizeBytes: number;
                allocatedBytes: number;
                static encode(message: fluidcloud.relocation.v1.PlannedDisk.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.PlannedDisk & fluidcloud.relocation.v1.PlannedDisk.$Shape;
            }
            namespace PlannedDisk {
                interface $Properties {
                    id?: (string|null);
                    sizeBytes?: (number|null);
                    allocatedBytes?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.PlannedDisk.$Properties;
            }
            interface IStep extends fluidcloud.relocation.v1.Step.$Properties {
            }
            class Step {
                constructor(properties?: fluidcloud.relocation.v1.Step.$Properties);
                $unknowns?: Uint8Array[];
                migrator: string;
                version: string;
                inputJson: string;
                static encode(message: fluidcloud.relocation.v1.Step.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Step & fluidcloud.relocation.v1.Step.$Shape;
            }
            namespace Step {
                interface $Properties {
                    migrator?: (string|null);
                    version?: (string|null);
                    inputJson?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Step.$Properties;
            }
            interface IHealthCheck extends fluidcloud.relocation.v1.HealthCheck.$Properties {
            }
            class HealthCheck {
                constructor(properties?: fluidcloud.relocation.v1.HealthCheck.$Properties);
                $unknowns?: Uint8Array[];
                url: string;
                status: number;
                contains: string;
                host: string;
                port: number;
                static encode(message: fluidcloud.relocation.v1.HealthCheck.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.HealthCheck & fluidcloud.relocation.v1.HealthCheck.$Shape;
            }
            namespace HealthCheck {
                interface $Properties {
                    url?: (string|null);
                    status?: (number|null);
                    contains?: (string|null);
                    host?: (string|null);
                    port?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.HealthCheck.$Properties;
            }
            interface IPending extends fluidcloud.relocation.v1.Pending.$Properties {
            }
            class Pending {
                constructor(properties?: fluidcloud.relocation.v1.Pending.$Properties);
                $unknowns?: Uint8Array[];
                reason: string;
                static encode(message: fluidcloud.relocation.v1.Pending.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Pending & fluidcloud.relocation.v1.Pending.$Shape;
            }
            namespace Pending {
                interface $Properties {
                    reason?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Pending.$Properties;
            }
            interface IAnswer extends fluidcloud.relocation.v1.Answer.$Properties {
            }
            class Answer {
                constructor(properties?: fluidcloud.relocation.v1.Answer.$Properties);
                $unknowns?: Uint8Array[];
                accepted: boolean;
                places: fluidcloud.relocation.v1.Place.$Properties[];
                warnings: string[];
                objections: fluidcloud.relocation.v1.Objection.$Properties[];
                static encode(message: fluidcloud.relocation.v1.Answer.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Answer & fluidcloud.relocation.v1.Answer.$Shape;
            }
            namespace Answer {
                interface $Properties {
                    accepted?: (boolean|null);
                    places?: (fluidcloud.relocation.v1.Place.$Properties[]|null);
                    warnings?: (string[]|null);
                    objections?: (fluidcloud.relocation.v1.Objection.$Properties[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Answer.$Properties;
            }
            interface IPlace extends fluidcloud.relocation.v1.Place.$Properties {
            }
            class Place {
                constructor(properties?: fluidcloud.relocation.v1.Place.$Properties);
                $unknowns?: Uint8Array[];
                machine: string;
                disk: string;
                destination: string;
                format: string;
                static encode(message: fluidcloud.relocation.v1.Place.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Place & fluidcloud.relocation.v1.Place.$Shape;
            }
            namespace Place {
                interface $Properties {
                    machine?: (string|null);
                    disk?: (string|null);
                    destination?: (string|null);
                    format?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Place.$Properties;
            }
            interface IObjection extends fluidcloud.relocation.v1.Objection.$Properties {
            }
            class Objection {
                constructor(properties?: fluidcloud.relocation.v1.Objection.$Properties);
                $unknowns?: Uint8Array[];
                code: number;
                message: string;
                hint: string;
                static encode(message: fluidcloud.relocation.v1.Objection.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Objection & fluidcloud.relocation.v1.Objection.$Shape;
            }
            namespace Objection {
                interface $Properties {
                    code?: (number|null);
                    message?: (string|null);
                    hint?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Objection.$Properties;
            }
            interface IHandover extends fluidcloud.relocation.v1.Handover.$Properties {
            }
            class Handover {
                constructor(properties?: fluidcloud.relocation.v1.Handover.$Properties);
                $unknowns?: Uint8Array[];
                final?: (fluidcloud.relocation.v1.Signed.$Properties|null);
                static encode(message: fluidcloud.relocation.v1.Handover.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Handover & fluidcloud.relocation.v1.Handover.$Shape;
            }
            namespace Handover {
                interface $Properties {
                    final?: (fluidcloud.relocation.v1.Signed.$Properties|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Handover.$Properties;
            }
            interface IFinal extends fluidcloud.relocation.v1.Final.$Properties {
            }
            class Final {
                constructor(properties?: fluidcloud.relocation.v1.Final.$Properties);
                $unknowns?: Uint8Array[];
                relocation: Uint8Array;
                source: string;
                target: string;
                planDigest: Uint8Array;
                disks: fluidcloud.relocation.v1.FinalDisk.$Properties[];
                static encode(message: fluidcloud.relocation.v1.Final.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Final & fluidcloud.relocation.v1.Final.$Shape;
            }
            namespace Final {
                interface $Properties {
                    relocation?: (Uint8Array|null);
                    source?: (string|null);
                    target?: (string|null);
                    planDigest?: (Uint8Array|null);
                    disks?: (fluidcloud.relocation.v1.FinalDisk.$Properties[]|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Final.$Properties;
            }
            interface IFinalDisk extends fluidcloud.relocation.v1.FinalDisk.$Properties {
            }
            class FinalDisk {
                constructor(properties?: fluidcloud.relocation.v1.FinalDisk.$Properties);
                $unknowns?: Uint8Array[];
                machine: string;
                disk: string;
                root: Uint8Array;
                static encode(message: fluidcloud.relocation.v1.FinalDisk.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.FinalDisk & fluidcloud.relocation.v1.FinalDisk.$Shape;
            }
            namespace FinalDisk {
                interface $Properties {
                    machine?: (string|null);
                    disk?: (string|null);
                    root?: (Uint8Array|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.FinalDisk.$Properties;
            }
            interface IAsk extends fluidcloud.relocation.v1.Ask.$Properties {
            }
            class Ask {
                constructor(properties?: fluidcloud.relocation.v1.Ask.$Properties);
                $unknowns?: Uint8Array[];
                relocation: Uint8Array;
                nonce: Uint8Array;
                static encode(message: fluidcloud.relocation.v1.Ask.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Ask & fluidcloud.relocation.v1.Ask.$Shape;
            }
            namespace Ask {
                interface $Properties {
                    relocation?: (Uint8Array|null);
                    nonce?: (Uint8Array|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Ask.$Properties;
            }
            interface ILease extends fluidcloud.relocation.v1.Lease.$Properties {
            }
            class Lease {
                constructor(properties?: fluidcloud.relocation.v1.Lease.$Properties);
                $unknowns?: Uint8Array[];
                term?: (fluidcloud.relocation.v1.Signed.$Properties|null);
                static encode(message: fluidcloud.relocation.v1.Lease.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Lease & fluidcloud.relocation.v1.Lease.$Shape;
            }
            namespace Lease {
                interface $Properties {
                    term?: (fluidcloud.relocation.v1.Signed.$Properties|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Lease.$Properties;
            }
            interface ITerm extends fluidcloud.relocation.v1.Term.$Properties {
            }
            class Term {
                constructor(properties?: fluidcloud.relocation.v1.Term.$Properties);
                $unknowns?: Uint8Array[];
                relocation: Uint8Array;
                source: string;
                target: string;
                nonce: Uint8Array;
                leaseMs: number;
                static encode(message: fluidcloud.relocation.v1.Term.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Term & fluidcloud.relocation.v1.Term.$Shape;
            }
            namespace Term {
                interface $Properties {
                    relocation?: (Uint8Array|null);
                    source?: (string|null);
                    target?: (string|null);
                    nonce?: (Uint8Array|null);
                    leaseMs?: (number|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Term.$Properties;
            }
            interface IProgress extends fluidcloud.relocation.v1.Progress.$Properties {
            }
            class Progress {
                constructor(properties?: fluidcloud.relocation.v1.Progress.$Properties);
                $unknowns?: Uint8Array[];
                relocation: Uint8Array;
                stage: fluidcloud.relocation.v1.Stage;
                detail: string;
                static encode(message: fluidcloud.relocation.v1.Progress.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Progress & fluidcloud.relocation.v1.Progress.$Shape;
            }
            namespace Progress {
                interface $Properties {
                    relocation?: (Uint8Array|null);
                    stage?: (fluidcloud.relocation.v1.Stage|null);
                    detail?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Progress.$Properties;
            }
            enum Stage {
                STAGE_UNSPECIFIED = 0,
                STAGE_ADAPTING = 1,
                STAGE_REGISTERING = 2,
                STAGE_STARTING = 3,
                STAGE_CHECKING = 4
            }
            interface IChanged extends fluidcloud.relocation.v1.Changed.$Properties {
            }
            class Changed {
                constructor(properties?: fluidcloud.relocation.v1.Changed.$Properties);
                $unknowns?: Uint8Array[];
                relocation: Uint8Array;
                machine: string;
                path: string;
                diff: string;
                static encode(message: fluidcloud.relocation.v1.Changed.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Changed & fluidcloud.relocation.v1.Changed.$Shape;
            }
            namespace Changed {
                interface $Properties {
                    relocation?: (Uint8Array|null);
                    machine?: (string|null);
                    path?: (string|null);
                    diff?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Changed.$Properties;
            }
            interface IVerdict extends fluidcloud.relocation.v1.Verdict.$Properties {
            }
            class Verdict {
                constructor(properties?: fluidcloud.relocation.v1.Verdict.$Properties);
                $unknowns?: Uint8Array[];
                outcome?: (fluidcloud.relocation.v1.Signed.$Properties|null);
                static encode(message: fluidcloud.relocation.v1.Verdict.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Verdict & fluidcloud.relocation.v1.Verdict.$Shape;
            }
            namespace Verdict {
                interface $Properties {
                    outcome?: (fluidcloud.relocation.v1.Signed.$Properties|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Verdict.$Properties;
            }
            interface IOutcome extends fluidcloud.relocation.v1.Outcome.$Properties {
            }
            class Outcome {
                constructor(properties?: fluidcloud.relocation.v1.Outcome.$Properties);
                $unknowns?: Uint8Array[];
                relocation: Uint8Array;
                source: string;
                target: string;
                healthy: boolean;
                objections: fluidcloud.relocation.v1.Objection.$Properties[];
                adaptingMs: number;
                registeringMs: number;
                startingMs: number;
                checkingMs: number;
                finalDigest: Uint8Array;
                static encode(message: fluidcloud.relocation.v1.Outcome.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Outcome & fluidcloud.relocation.v1.Outcome.$Shape;
            }
            namespace Outcome {
                interface $Properties {
                    relocation?: (Uint8Array|null);
                    source?: (string|null);
                    target?: (string|null);
                    healthy?: (boolean|null);
                    objections?: (fluidcloud.relocation.v1.Objection.$Properties[]|null);
                    adaptingMs?: (number|null);
                    registeringMs?: (number|null);
                    startingMs?: (number|null);
                    checkingMs?: (number|null);
                    finalDigest?: (Uint8Array|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Outcome.$Properties;
            }
            interface ICommit extends fluidcloud.relocation.v1.Commit.$Properties {
            }
            class Commit {
                constructor(properties?: fluidcloud.relocation.v1.Commit.$Properties);
                $unknowns?: Uint8Array[];
                pledge?: (fluidcloud.relocation.v1.Signed.$Properties|null);
                static encode(message: fluidcloud.relocation.v1.Commit.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Commit & fluidcloud.relocation.v1.Commit.$Shape;
            }
            namespace Commit {
                interface $Properties {
                    pledge?: (fluidcloud.relocation.v1.Signed.$Properties|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Commit.$Properties;
            }
            interface IPledge extends fluidcloud.relocation.v1.Pledge.$Properties {
            }
            class Pledge {
                constructor(properties?: fluidcloud.relocation.v1.Pledge.$Properties);
                $unknowns?: Uint8Array[];
                relocation: Uint8Array;
                source: string;
                target: string;
                static encode(message: fluidcloud.relocation.v1.Pledge.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Pledge & fluidcloud.relocation.v1.Pledge.$Shape;
            }
            namespace Pledge {
                interface $Properties {
                    relocation?: (Uint8Array|null);
                    source?: (string|null);
                    target?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Pledge.$Properties;
            }
            interface IAbort extends fluidcloud.relocation.v1.Abort.$Properties {
            }
            class Abort {
                constructor(properties?: fluidcloud.relocation.v1.Abort.$Properties);
                $unknowns?: Uint8Array[];
                relocation: Uint8Array;
                reason: string;
                static encode(message: fluidcloud.relocation.v1.Abort.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Abort & fluidcloud.relocation.v1.Abort.$Shape;
            }
            namespace Abort {
                interface $Properties {
                    relocation?: (Uint8Array|null);
                    reason?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Abort.$Properties;
            }
            interface IReleased extends fluidcloud.relocation.v1.Released.$Properties {
            }
            class Released {
                constructor(properties?: fluidcloud.relocation.v1.Released.$Properties);
                $unknowns?: Uint8Array[];
                release?: (fluidcloud.relocation.v1.Signed.$Properties|null);
                static encode(message: fluidcloud.relocation.v1.Released.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Released & fluidcloud.relocation.v1.Released.$Shape;
            }
            namespace Released {
                interface $Properties {
                    release?: (fluidcloud.relocation.v1.Signed.$Properties|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Released.$Properties;
            }
            interface IRelease extends fluidcloud.relocation.v1.Release.$Properties {
            }
            class Release {
                constructor(properties?: fluidcloud.relocation.v1.Release.$Properties);
                $unknowns?: Uint8Array[];
                relocation: Uint8Array;
                source: string;
                target: string;
                static encode(message: fluidcloud.relocation.v1.Release.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Release & fluidcloud.relocation.v1.Release.$Shape;
            }
            namespace Release {
                interface $Properties {
                    relocation?: (Uint8Array|null);
                    source?: (string|null);
                    target?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Release.$Properties;
            }
            interface IFinalize extends fluidcloud.relocation.v1.Finalize.$Properties {
            }
            class Finalize {
                constructor(properties?: fluidcloud.relocation.v1.Finalize.$Properties);
                $unknowns?: Uint8Array[];
                relocation: Uint8Array;
                static encode(message: fluidcloud.relocation.v1.Finalize.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Finalize & fluidcloud.relocation.v1.Finalize.$Shape;
            }
            namespace Finalize {
                interface $Properties {
                    relocation?: (Uint8Array|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Finalize.$Properties;
            }
            interface IInquire extends fluidcloud.relocation.v1.Inquire.$Properties {
            }
            class Inquire {
                constructor(properties?: fluidcloud.relocation.v1.Inquire.$Properties);
                $unknowns?: Uint8Array[];
                relocation: Uint8Array;
                static encode(message: fluidcloud.relocation.v1.Inquire.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Inquire & fluidcloud.relocation.v1.Inquire.$Shape;
            }
            namespace Inquire {
                interface $Properties {
                    relocation?: (Uint8Array|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Inquire.$Properties;
            }
            interface IStanding extends fluidcloud.relocation.v1.Standing.$Properties {
            }
            class Standing {
                constructor(properties?: fluidcloud.relocation.v1.Standing.$Properties);
                $unknowns?: Uint8Array[];
                state: fluidcloud.relocation.v1.State;
                static encode(message: fluidcloud.relocation.v1.Standing.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Standing & fluidcloud.relocation.v1.Standing.$Shape;
            }
            namespace Standing {
                interface $Properties {
                    state?: (fluidcloud.relocation.v1.State|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Standing.$Properties;
            }
            enum State {
                STATE_UNSPECIFIED = 0,
                STATE_UNKNOWN = 1,
                STATE_PREPARED = 2,
                STATE_STARTING = 3,
                STATE_HEALTHY = 4,
                STATE_SUSPENDED = 5,
                STATE_COMMITTED = 6,
                STATE_RELEASED = 7
            }
            interface IRefused extends fluidcloud.relocation.v1.Refused.$Properties {
            }
            class Refused {
                constructor(properties?: fluidcloud.relocation.v1.Refused.$Properties);
                $unknowns?: Uint8Array[];
                code: number;
                message: string;
                static encode(message: fluidcloud.relocation.v1.Refused.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Refused & fluidcloud.relocation.v1.Refused.$Shape;
            }
            namespace Refused {
                interface $Properties {
                    code?: (number|null);
                    message?: (string|null);
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Refused.$Properties;
            }
            interface IHeartbeat extends fluidcloud.relocation.v1.Heartbeat.$Properties {
            }
            class Heartbeat {
                constructor(properties?: fluidcloud.relocation.v1.Heartbeat.$Properties);
                $unknowns?: Uint8Array[];
                static encode(message: fluidcloud.relocation.v1.Heartbeat.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;
                static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): fluidcloud.relocation.v1.Heartbeat & fluidcloud.relocation.v1.Heartbeat.$Shape;
            }
            namespace Heartbeat {
                interface $Properties {
                    $unknowns?: Uint8Array[];
                }
                type $Shape = fluidcloud.relocation.v1.Heartbeat.$Properties;
            }
        }
    }
}
