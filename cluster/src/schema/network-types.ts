/**
 * Structure of discovery.k8s.io/v1, events.k8s.io/v1 and coordination.k8s.io/v1.
 * The notation is explained in notation.ts; the names are those of the Kubernetes API.
 */

export const networkTypes = `
Endpoint: addresses@1!:[](set) conditions@2:EndpointConditions deprecatedTopology@5:{} hints@8:EndpointHints?
  hostname@3:string? nodeName@6:string? targetRef@4:ObjectReference? zone@7:string?
EndpointConditions: ready@1:bool? serving@2:bool? terminating@3:bool?
EndpointHints: forNodes@2:any forZones@1:[ForZone]
EndpointSlice: addressType@4! endpoints@2:[Endpoint] metadata@1:ObjectMeta ports@3:[EndpointSlicePort]
EndpointSlicePort(atomic): appProtocol@4:string? name@1:string? port@3:int? protocol@2:string?=TCP
ForZone: name@1!
EventsEvent: action@6 deprecatedCount@15:int deprecatedFirstTimestamp@13:time deprecatedLastTimestamp@14:time
  deprecatedSource@12:EventSource eventTime@2:time metadata@1:ObjectMeta note@10 reason@7
  regarding@8:ObjectReference related@9:ObjectReference? reportingController@4 reportingInstance@5
  series@3:EventsEventSeries? type@11
EventsEventSeries: count@1!:int lastObservedTime@2!:time
Lease: metadata@1:ObjectMeta spec@2:LeaseSpec
LeaseSpec: acquireTime@3:time holderIdentity@1:string? leaseDurationSeconds@2:int64? leaseTransitions@5:int?
  preferredHolder@7:string? renewTime@4:time strategy@6:string?
`;
