/**
 * Structure of admissionregistration.k8s.io/v1, apiextensions.k8s.io/v1 and apiregistration.k8s.io/v1.
 * The notation is explained in notation.ts; the names are those of the Kubernetes API.
 */

export const extensionTypes = `
APIService: metadata:ObjectMeta spec:APIServiceSpec status:APIServiceStatus
APIServiceCondition: lastTransitionTime:time message reason status type
APIServiceSpec: caBundle:bytes group groupPriorityMinimum:int insecureSkipTLSVerify:bool service:any version
  versionPriority:int
APIServiceStatus: conditions:[APIServiceCondition](type)
MatchCondition: expression@2! name@1!
MutatingWebhook: admissionReviewVersions@8!:[] clientConfig@2!:WebhookClientConfig failurePolicy@4:string?
  matchConditions@12:[MatchCondition](name) matchPolicy@9:string? name@1! namespaceSelector@5:LabelSelector?
  objectSelector@11:LabelSelector? reinvocationPolicy@10:string? rules@3:[RuleWithOperations] sideEffects@6!:string?
  timeoutSeconds@7:int64?
MutatingWebhookConfiguration: metadata@1:ObjectMeta webhooks@2:[MutatingWebhook](name)
RuleWithOperations: apiGroups@2.1:[] apiVersions@2.2:[] operations@1:[] resources@2.3:[] scope@2.4:string?
ServiceReference: name@2! namespace@1! path@3:string? port@4:int?
ValidatingWebhook: admissionReviewVersions@8!:[] clientConfig@2!:WebhookClientConfig failurePolicy@4:string?
  matchConditions@11:[MatchCondition](name) matchPolicy@9:string? name@1! namespaceSelector@5:LabelSelector?
  objectSelector@10:LabelSelector? rules@3:[RuleWithOperations] sideEffects@6!:string? timeoutSeconds@7:int64?
ValidatingWebhookConfiguration: metadata@1:ObjectMeta webhooks@2:[ValidatingWebhook](name)
WebhookClientConfig: caBundle@2 service@1:ServiceReference? url@3:string?
CrdServiceReference: name@2! namespace@1! path@3:string? port@4:int?
CrdWebhookClientConfig: caBundle@2 service@1:CrdServiceReference? url@3:string?
CustomResourceColumnDefinition: description@4 format@3 jsonPath@6! name@1! priority@5:int type@2!
CustomResourceConversion: strategy@1! webhook@2:WebhookConversion?
CustomResourceDefinition: metadata@1:ObjectMeta spec@2!:CustomResourceDefinitionSpec
  status@3:CustomResourceDefinitionStatus
CustomResourceDefinitionCondition: lastTransitionTime@3:time message@5 reason@4 status@2 type@1
CustomResourceDefinitionNames: categories@6:[] kind@4! listKind@5 plural@1! shortNames@3:[] singular@2
CustomResourceDefinitionSpec: conversion@9:CustomResourceConversion? group@1! names@3!:CustomResourceDefinitionNames
  preserveUnknownFields@10:bool scope@4! versions@7!:[CustomResourceDefinitionVersion]
CustomResourceDefinitionStatus: acceptedNames@2:CustomResourceDefinitionNames
  conditions@1:[CustomResourceDefinitionCondition](type) storedVersions@3:[]
CustomResourceDefinitionVersion: additionalPrinterColumns@6:[CustomResourceColumnDefinition] deprecated@7:bool
  deprecationWarning@8:string? name@1! schema@4:CustomResourceValidation? selectableFields@9:[SelectableField]
  served@2!:bool storage@3!:bool subresources@5:CustomResourceSubresources?
CustomResourceSubresourceScale: labelSelectorPath@3:string? specReplicasPath@1! statusReplicasPath@2!
CustomResourceSubresources: scale@2:CustomResourceSubresourceScale? status@1:any
CustomResourceValidation: openAPIV3Schema@1:any
SelectableField: jsonPath@1!
WebhookConversion: clientConfig@2:CrdWebhookClientConfig? conversionReviewVersions@3!:[]
`;
