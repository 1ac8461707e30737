/**
 * Structure of the fields that every object has and of small types that all groups use.
 * The notation is explained in notation.ts; the names are those of the Kubernetes API.
 */

export const metaTypes = `
Condition: lastTransitionTime@4:time message@6 observedGeneration@3:int64 reason@5 status@2 type@1
DeleteOptions: apiVersion dryRun@5:[] gracePeriodSeconds@1:int64? kind orphanDependents@3:bool?
  preconditions@2:Preconditions? propagationPolicy@4:string?
LabelSelector(atomic): matchExpressions@2:[LabelSelectorRequirement] matchLabels@1:{}
LabelSelectorRequirement: key@1! operator@2! values@3:[]
ManagedFieldsEntry: apiVersion@3 fieldsType@6 fieldsV1@7:any manager@1 operation@2 subresource@8 time@4:time
ObjectMeta: annotations@12:{} creationTimestamp@8:time deletionGracePeriodSeconds@10:int64? deletionTimestamp@9:time
  finalizers@14:[](set) generateName@2 generation@7:int64 labels@11:{} managedFields@17:[ManagedFieldsEntry] name@1
  namespace@3 ownerReferences@13:[OwnerReference](uid) resourceVersion@6 selfLink@4 uid@5
OwnerReference: apiVersion@5! blockOwnerDeletion@7:bool? controller@6:bool? kind@1! name@3! uid@4!
Preconditions: resourceVersion@2:string? uid@1:string?
`;
